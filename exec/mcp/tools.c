/* The table of the tools. */
#include "tool.h"

#define ERROR "\"error\": {\"type\": [\"string\", \"null\"]}"
#define ENTRY                                                                                      \
	"{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}, "               \
	"\"path\": {\"type\": \"string\"}, \"is_dir\": {\"type\": \"boolean\"}, "                  \
	"\"size\": {\"type\": [\"integer\", \"null\"]}, \"modified_at\": {\"type\": \"string\"}, " \
	"\"mode\": {\"type\": \"string\"}}, \"required\": [\"path\", \"is_dir\"]}"
#define OBJECT "{\"type\": \"object\"}"
#define JOB                                                                                        \
	"{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}, "               \
	"\"state\": {\"type\": \"string\"}, \"sandbox\": {\"type\": \"string\"}, "                 \
	"\"exit_code\": {\"type\": [\"integer\", \"null\"]}, "                                     \
	"\"signal\": {\"type\": [\"integer\", \"null\"]}, \"status\": {\"type\": \"integer\"}}, "  \
	"\"required\": [\"name\", \"state\"]}"

#define PATH_ARG "absolute, or relative to the directory that the instructions name"
#define EXPECT                                                                                     \
	{                                                                                          \
		"expect", ARG_TEXT,                                                                \
		    .help = "SHA-256 that the file must have, as read tells it; "                  \
			    "else nothing is changed"                                              \
	}
#define COMMAND                                                                                    \
	{"command", ARG_TEXT, .help = "a line for /bin/sh"},                                       \
	    {"argv", ARG_LIST, .help = "in place of command: a program and its arguments"},        \
	    {"cwd", ARG_TEXT, .help = "where it runs, which decides in which sandbox; " PATH_ARG}, \
	    {"env", ARG_NAMES, .help = "variables besides the sandbox's own"},                     \
	{                                                                                          \
		"timeout", ARG_SECONDS, .help = "seconds until it is ended, with all it started"   \
	}
#define SANDBOX                                                                                    \
	{                                                                                          \
		"sandbox", ARG_TEXT, .help = "the sandbox by its name, where cwd is in none"       \
	}
#define NAME(what)                                                                                 \
	{                                                                                          \
		"name", ARG_TEXT, .required = true, .help = what                                   \
	}

static const struct tool tools[] = {
    {.name = "read",
     .title = "Read a file",
     .help = "Lines of a file with their numbers, 2000 at most, and how many are left.",
     .op = "read",
     .hints = TOOL_READS,
     .make = make_operation,
     .text = text_read,
     .output = "{\"type\": \"object\", \"properties\": {\"path\": {\"type\": \"string\"}, "
	       "\"content\": {\"type\": \"string\"}, \"offset\": {\"type\": \"integer\"}, "
	       "\"lines\": {\"type\": \"integer\"}, \"total_lines\": {\"type\": \"integer\"}, "
	       "\"size\": {\"type\": \"integer\"}, \"sha256\": {\"type\": \"string\"}}, "
	       "\"required\": [\"path\", \"content\"]}",
     .args = {{"path", ARG_TEXT, true, .help = PATH_ARG},
	      {"offset", ARG_COUNT, .help = "leave out so many lines"},
	      {"limit", ARG_COUNT, .help = "at most so many lines"},
	      {"raw", ARG_FLAG, .help = "without numbers, and all lines unless limit is given"}}},
    {.name = "write",
     .title = "Write a file",
     .help = "Make a file, with its parents, or put this content in the place of its old one.",
     .op = "write",
     .hints = TOOL_DESTROYS | TOOL_AGAIN,
     .make = make_operation,
     .text = text_write,
     .output = "{\"type\": \"object\", \"properties\": {\"path\": {\"type\": \"string\"}, "
	       "\"size\": {\"type\": \"integer\"}, \"sha256\": {\"type\": \"string\"}}, "
	       "\"required\": [\"path\", \"size\"]}",
     .args = {{"path", ARG_TEXT, true, .help = PATH_ARG},
	      {"content", ARG_TEXT, true, .help = "all of the file"},
	      EXPECT}},
    {.name = "edit",
     .title = "Edit a file",
     .help = "Replace a string, of any bytes and lines, that is in the file once.",
     .op = "edit",
     .hints = TOOL_DESTROYS,
     .make = make_operation,
     .text = text_edit,
     .output = "{\"type\": \"object\", \"properties\": {\"path\": {\"type\": \"string\"}, "
	       "\"occurrences\": {\"type\": \"integer\"}, \"size\": {\"type\": \"integer\"}, "
	       "\"sha256\": {\"type\": \"string\"}}, \"required\": [\"path\", \"occurrences\"]}",
     .args = {{"path", ARG_TEXT, true, .help = PATH_ARG},
	      {"old", ARG_TEXT, true, .help = "what is there, exactly"},
	      {"new", ARG_TEXT, true, .help = "what is to be there"},
	      {"replace_all", ARG_FLAG, .help = "each occurrence, however many there are"},
	      EXPECT}},
    {.name = "ls",
     .title = "List a directory",
     .help = "Entries of a directory, directories first, with mode, size and time (UTC).",
     .op = "ls",
     .hints = TOOL_READS,
     .make = make_operation,
     .text = text_ls,
     .output = "{\"type\": \"object\", \"properties\": {\"entries\": {\"type\": \"array\", "
	       "\"items\": " ENTRY "}, " ERROR "}, \"required\": [\"entries\"]}",
     .args = {{"path", ARG_TEXT, .help = PATH_ARG}}},
    {.name = "glob",
     .title = "Find files by name",
     .help = "Files whose paths match: * ? [a-z] [!a], ** for any number of directories, {a,b} "
	     "for either.",
     .op = "glob",
     .hints = TOOL_READS,
     .make = make_operation,
     .text = text_glob,
     .output = "{\"type\": \"object\", \"properties\": {\"files\": {\"type\": \"array\", "
	       "\"items\": " ENTRY "}, \"truncated\": {\"type\": \"boolean\"}, " ERROR "}, "
	       "\"required\": [\"files\"]}",
     .args = {{"pattern", ARG_TEXT, true, .help = "such as src/**/*.{c,h}"},
	      {"path", ARG_TEXT, .help = "the directory to look in; " PATH_ARG},
	      {"hidden", ARG_FLAG, .help = "wildcards match hidden names too"},
	      {"gitignore", ARG_FLAG, .help = "leave out what git ignores"},
	      {"sort", ARG_TEXT, false, "path|mtime", "mtime: the newest first"},
	      {"max", ARG_COUNT, .help = "at most so many files"}}},
    {.name = "grep",
     .title = "Find lines by a pattern",
     .help = "Lines of files that a regular expression (PCRE2) matches, sorted by path. Binary "
	     "files are left out.",
     .op = "grep",
     .hints = TOOL_READS,
     .make = make_operation,
     .text = text_grep,
     .output = "{\"type\": \"object\", \"properties\": {\"matches\": {\"type\": \"array\", "
	       "\"items\": {\"type\": \"object\", \"properties\": {\"path\": {\"type\": "
	       "\"string\"}, \"line_number\": {\"type\": \"integer\"}, \"line\": {\"type\": "
	       "\"string\"}, \"count\": {\"type\": \"integer\"}}, \"required\": [\"path\"]}}, "
	       "\"denied\": {\"type\": \"integer\"}, \"truncated\": {\"type\": \"boolean\"}, " ERROR
	       "}, \"required\": [\"matches\"]}",
     .args = {{"pattern", ARG_TEXT, true, .help = "a regular expression"},
	      {"path", ARG_TEXT, .help = "the file or directory to look in; " PATH_ARG},
	      {"glob", ARG_TEXT,
	       .help = "only files of these names, or paths where it has a slash"},
	      {"mode", ARG_TEXT, false, "content|files|count",
	       "content: lines; files: paths only; count: lines of each file"},
	      {"ignore_case", ARG_FLAG, .help = "upper and lower case are the same"},
	      {"gitignore", ARG_FLAG, .help = "leave out what git ignores"},
	      {"max", ARG_COUNT, .help = "at most so many results"}}},
    {.name = "exec",
     .title = "Run a command",
     .help = "Run a command in the sandbox that owns its directory, and wait for its end. Its "
	     "exit status is no error of the tool's.",
     .hints = TOOL_DESTROYS | TOOL_OPEN,
     .answer = CALL_COMMAND,
     .make = make_exec,
     .text = text_exec,
     .output = "{\"type\": \"object\", \"properties\": {\"output\": {\"type\": \"string\"}, "
	       "\"stdout\": {\"type\": \"string\"}, \"stderr\": {\"type\": \"string\"}, "
	       "\"exit_code\": {\"type\": \"integer\"}, \"signal\": {\"type\": [\"integer\", "
	       "\"null\"]}, \"truncated\": {\"type\": \"boolean\"}, \"timed_out\": {\"type\": "
	       "\"boolean\"}, \"duration_ms\": {\"type\": \"integer\"}, \"error\": {\"type\": "
	       "\"string\"}}, \"required\": [\"output\", \"exit_code\"]}",
     .args = {COMMAND, {"stdin", ARG_TEXT, .help = "its standard input"}, SANDBOX}},
    {.name = "job_start",
     .title = "Start a command in the background",
     .help = "Start a command that goes on by itself, and tell its name.",
     .hints = TOOL_DESTROYS | TOOL_OPEN,
     .answer = CALL_REPLY,
     .make = make_exec,
     .output = "{\"type\": \"object\", \"properties\": {\"job\": {\"type\": \"string\"}}, "
	       "\"required\": [\"job\"]}",
     .args = {COMMAND, SANDBOX, {"name", ARG_TEXT, .help = "the job's name; made up without"}}},
    {.name = "job_ls",
     .title = "List background commands",
     .help = "All jobs, with state and exit status.",
     .op = "jobs",
     .hints = TOOL_READS,
     .answer = CALL_REPLY,
     .make = make_job,
     .output = "{\"type\": \"object\", \"properties\": {\"jobs\": {\"type\": \"array\", "
	       "\"items\": " JOB "}}, \"required\": [\"jobs\"]}"},
    {.name = "job_logs",
     .title = "Read a background command's output",
     .help = "What a job has written until now, or the end of it.",
     .op = "job_logs",
     .hints = TOOL_READS,
     .answer = CALL_TAIL,
     .make = make_job,
     .text = text_output,
     .output = "{\"type\": \"object\", \"properties\": {\"output\": {\"type\": \"string\"}, "
	       "\"truncated\": {\"type\": \"boolean\"}}, \"required\": [\"output\", "
	       "\"truncated\"]}",
     .args = {NAME("the job's"),
	      {"no_stdout", ARG_FLAG, .help = "leave out standard output"},
	      {"no_stderr", ARG_FLAG, .help = "leave out standard error"}}},
    {.name = "job_wait",
     .title = "Wait for a background command",
     .help = "Wait for a job's end; status is what a shell would show.",
     .op = "job_wait",
     .hints = TOOL_READS,
     .answer = CALL_REPLY,
     .make = make_job,
     .output = JOB,
     .args = {NAME("the job's")}},
    {.name = "job_kill",
     .title = "End a background command",
     .help = "End all that a job has started: TERM and, after a moment, KILL; or send a signal.",
     .op = "job_kill",
     .hints = TOOL_DESTROYS,
     .answer = CALL_REPLY,
     .make = make_job,
     .output = OBJECT,
     .args = {NAME("the job's"),
	      {"signal", ARG_COUNT, .help = "this one, to its process group; 9: to all of it"}}},
    {.name = "job_rm",
     .title = "Forget a background command",
     .help = "Forget a job and its output; one that runs is killed.",
     .op = "job_rm",
     .hints = TOOL_DESTROYS,
     .answer = CALL_REPLY,
     .make = make_job,
     .output = OBJECT,
     .args = {NAME("the job's")}},
    {.name = "session_get",
     .title = "Get or make a session",
     .help = "A sandbox by name, with a workspace that lasts; made where there is none.",
     .op = "get",
     .hints = TOOL_AGAIN,
     .answer = CALL_REPLY,
     .make = make_session,
     .output = OBJECT,
     .args = {NAME("letters, digits, . _ -"),
	      {"runtime", ARG_TEXT, .help = "of a new one: what is installed in it"},
	      {"idle_timeout", ARG_TEXT, .help = "of a new one: such as 30m"},
	      {"env", ARG_NAMES, .help = "of a new one: variables of its commands"}}},
    {.name = "session_ls",
     .title = "List sessions",
     .help = "All sessions, with state and workspace.",
     .op = "ls",
     .hints = TOOL_READS,
     .answer = CALL_REPLY,
     .make = make_session,
     .output = "{\"type\": \"object\", \"properties\": {\"sessions\": {\"type\": \"array\", "
	       "\"items\": {\"type\": \"object\"}}}, \"required\": [\"sessions\"]}"},
    {.name = "session_status",
     .title = "Look at a session",
     .help = "State, workspace and limits of a session.",
     .op = "status",
     .hints = TOOL_READS,
     .answer = CALL_REPLY,
     .make = make_session,
     .output = OBJECT,
     .args = {NAME("the session's")}},
    {.name = "session_release",
     .title = "Release a session",
     .help = "End a session and its container; its workspace stays, and is the next one's.",
     .op = "release",
     .hints = TOOL_DESTROYS,
     .answer = CALL_REPLY,
     .make = make_session,
     .output = OBJECT,
     .args = {NAME("the session's")}},
    {.name = "session_rm",
     .title = "Remove a session",
     .help = "End a session; with workspace, its files are deleted too.",
     .op = "rm",
     .hints = TOOL_DESTROYS,
     .answer = CALL_REPLY,
     .make = make_session,
     .output = OBJECT,
     .args = {NAME("the session's"),
	      {"workspace", ARG_FLAG, .help = "delete its workspace, for good"}}},
};

const struct tool *tool_at(size_t i)
{
	return i < ARRAY_SIZE(tools) ? &tools[i] : NULL;
}
