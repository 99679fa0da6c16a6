import { defineConfig } from 'millrace/config';

export default defineConfig({
  protos: 'protos',
  out: 'src/gen',
  entry: 'src/main.ts',
});
