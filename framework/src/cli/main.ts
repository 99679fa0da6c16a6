#!/usr/bin/env node
import { Command } from 'commander';
import { generateCommand } from './generate/command.js';

await new Command('millrace')
  .description('gRPC services in plain TypeScript')
  .addCommand(generateCommand())
  .parseAsync();
