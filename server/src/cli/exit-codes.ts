/** What the exit code of a command says; scripts rely on these. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, denied: 3, unreachable: 4, silent: 5, asked: 6 } as const;

/** For the foot of `portcullis --help`. */
export const exitCodesHelp = `
Exit codes:
  0  done
  1  failed: the gate refused, or a check found something
  2  the command line or an argument is wrong
  3  the key is missing, wrong, or lacks the scope
  4  no gate answers
  5  kill: done, but a replica that lives has not said so
  6  kill off: still stopped, a second person must confirm

Environment:
  PORTCULLIS_URL, PORTCULLIS_KEY or PORTCULLIS_KEY_FILE say which gate and which key. Without a key the commands use
  the one of \`portcullis login\`, else the gate that \`portcullis up\` runs on this machine. No command takes a secret as an argument.`;
