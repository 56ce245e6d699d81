/* What `aib help` says of the operations. */
#include "aib.h"

const char ops_help_read[] =
    "aib read [--offset N] [--limit N] [--raw] [--json] PATH\n"
    "\n"
    "Prints the lines of a file with their numbers, 2000 at most, and how many are left.\n"
    "\n"
    "  --offset N     leave out the first N lines\n"
    "  --limit N      at most N lines\n"
    "  --raw          the bytes as they are, all of them unless --limit is given\n"
    "  --json         path, content, offset, lines, total_lines, size, sha256\n";

const char ops_help_write[] =
    "aib write [--content TEXT] [--expect SHA256] [--json] PATH\n"
    "\n"
    "Makes a file of standard input, with its parents. Readers see the old file or the new one, "
    "whole;\n"
    "it keeps the mode and owner of the old one.\n"
    "\n"
    "  --content TEXT    this in place of standard input\n"
    "  --expect SHA256   only if the file has this content now (aib read --json tells it)\n"
    "  --json            path, size, sha256\n";

const char ops_help_edit[] =
    "aib edit --old TEXT --new TEXT [--replace-all] [--expect SHA256] [--json] PATH\n"
    "\n"
    "Replaces a string, of any bytes and lines, that is in the file once. Readers see the old file "
    "or the\n"
    "new one, whole.\n"
    "\n"
    "  --replace-all     each occurrence, however many there are\n"
    "  --expect SHA256   only if the file has this content now\n"
    "  --json            path, occurrences, size, sha256\n";

const char ops_help_ls[] =
    "aib ls [--json] [PATH]\n"
    "\n"
    "Lists a directory: directories first, then by name, with mode, size and time (UTC).\n"
    "\n"
    "  --json         entries: name, path, is_dir, size, modified_at, mode\n";

const char ops_help_glob[] =
    "aib glob [--hidden] [--gitignore] [--sort path|mtime] [--max N] [--json] PATTERN [PATH]\n"
    "\n"
    "Lists the files below PATH whose paths match: * ? [a-z] [!a], ** for any number of "
    "directories,\n"
    "{a,b} for either. A name that begins with a dot matches only a dot in the pattern.\n"
    "\n"
    "  --hidden       wildcards match hidden names too\n"
    "  --gitignore    leave out what git ignores\n"
    "  --sort mtime   the newest first\n"
    "  --max N        at most N files\n"
    "  --json         files: name, path, is_dir, size, modified_at, mode\n";

const char ops_help_grep[] =
    "aib grep [-i] [--glob GLOB] [--mode content|files|count] [--max N] [--gitignore] [--json]\n"
    "         PATTERN [PATH]\n"
    "\n"
    "Prints the lines below PATH that a regular expression (PCRE2) matches, as PATH:NUMBER:LINE, "
    "sorted by\n"
    "path. Binary files are left out.\n"
    "\n"
    "  -i, --ignore-case   upper and lower case are the same\n"
    "  --glob GLOB    only files of these names, or paths where GLOB has a slash\n"
    "  --mode MODE    content: lines; files: paths only; count: lines of each file\n"
    "  --max N        at most N results\n"
    "  --gitignore    leave out what git ignores\n"
    "  --json         matches: path, line_number, line; denied: files that a rule keeps from it\n"
    "\n"
    "Ends with 0 where something was found, 1 where nothing was, 2 for an error.\n";
