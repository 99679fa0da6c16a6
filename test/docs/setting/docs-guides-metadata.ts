export const token = 'secret';
