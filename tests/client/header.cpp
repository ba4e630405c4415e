// Compiles when the client library's header, and what it includes, is C++ as well.
#include <tael/client.h>

int tael_client_header_cpp();
int tael_client_header_cpp() { return tael_operation_info(TAEL_OPERATION_create_transfers).multi_batch ? 0 : 1; }
