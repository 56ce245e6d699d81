#include "client.h"

int main(int argc, char **argv)
{
	return aib_exec_main(argc, argv);
}
