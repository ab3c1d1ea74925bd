import { provesMoney } from './money/command.ts';
import { provesStreams } from './streams.ts';

const usage = `Usage: npm run chaos -- money|streams [options]; each tells its options with --help`;

const campaigns: Readonly<Record<string, (args: string[]) => Promise<number>>> = {
  money: provesMoney,
  streams: provesStreams,
};

const [name = '', ...args] = process.argv.slice(2);
const campaign = campaigns[name];
if (campaign) {
  process.exitCode = await campaign(args);
} else {
  console.error(usage);
  process.exitCode = 2;
}
