/* Opens two accounts and moves 100 from one to the other. Build: cc example.c $(pkg-config --cflags --libs tael-client) */
#include <stdio.h>
#include <tael/client.h>

static int say(const char *what, bool is_unknown, const char *why) {
    fprintf(stderr, "%s: %s%s\n", what, why, is_unknown ? " (send it again)" : "");
    return 1;
}

int main(int argc, char **argv) {
    const struct tael_client_options options = {.address = argc > 1 ? argv[1] : "127.0.0.1:3000", .sessions = 4};
    struct tael_client *client;
    char why[TAEL_CLIENT_WHY_SIZE];
    int status = tael_client_connect(&options, &client, why);
    if (status != 0) return say("connect", false, why);

    const struct tael_account accounts[2] = {{.id = 1, .ledger = 840, .code = 10},
                                             {.id = 2, .ledger = 840, .code = 10}};
    const struct tael_transfer transfer = {
        .id = 77, .debit_account_id = 1, .credit_account_id = 2, .amount = 100, .ledger = 840, .code = 1};
    struct tael_create_result results[2];
    struct tael_client_reply reply;

    status = tael_client_call(client, TAEL_OPERATION_create_accounts, accounts, 2, results, 2, 0, &reply);
    if (status != 0) return say("accounts", tael_client_outcome_is_unknown(status), reply.why);
    for (int i = 0; i < 2; i++) printf("account %d: %s\n", i + 1, tael_account_status_text(results[i].status));

    status = tael_client_call(client, TAEL_OPERATION_create_transfers, &transfer, 1, results, 1, 0, &reply);
    if (status != 0) return say("transfer", tael_client_outcome_is_unknown(status), reply.why);
    printf("transfer: %s\n", tael_transfer_status_text(results[0].status));

    const tael_u128 id = 2;
    struct tael_account found;
    status = tael_client_call(client, TAEL_OPERATION_lookup_accounts, &id, 1, &found, 1, 0, &reply);
    if (status != 0) return say("lookup", false, reply.why);
    printf("account 2 was credited %llu\n", (unsigned long long)found.credits_posted);
    tael_client_close(client, 0);
    return 0;
}
