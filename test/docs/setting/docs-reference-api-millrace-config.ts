export { defineConfig } from 'millrace/config';
