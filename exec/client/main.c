#include "client.h"

#include "base/std.h"

int main(int argc, char **argv)
{
	std_open();
	return aib_exec_main(argc, argv);
}
