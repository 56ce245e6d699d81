#include "args.h"
#include "client.h"

#include "base/std.h"

int main(int argc, char **argv)
{
	std_open();
	return args_by_link(argv[0]) ? aib_exec_link(argc, argv) : aib_exec_main(argc, argv);
}
