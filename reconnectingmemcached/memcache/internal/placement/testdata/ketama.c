/*
 * Writes ketama.golden: which server libmemcached chooses, with its weighted ketama and all weights 1.
 *
 *   cc -o ketama ketama.c -lmemcached && ./ketama >ketama.golden
 *
 * ketama.golden in this folder is what libmemcached 1.1.4 of Debian 12 (libmemcached-dev 1.1.4-1) gave. Each line has the number
 * of servers, their ports' kind, and the index of the server of each of the keys "key:0" to "key:199".
 */
#include <libmemcached/memcached.h>
#include <stdio.h>
#include <string.h>

static void list(int servers, int port) {
  memcached_st *m = memcached_create(NULL);
  char name[64], key[64];
  memcached_behavior_set(m, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
  for (int i = 0; i < servers; i++) {
    snprintf(name, sizeof name, "cache-%d.internal", i);
    memcached_server_add(m, name, (in_port_t) (port == 11211 ? port : port + i));
  }
  printf("%d %d", servers, port);
  for (int i = 0; i < 200; i++) {
    snprintf(key, sizeof key, "key:%d", i);
    printf(" %u", memcached_generate_hash(m, key, strlen(key)));
  }
  printf("\n");
  memcached_free(m);
}

int main(void) {
  for (int n = 1; n <= 64; n++) {
    list(n, 11211);
    list(n, 22000);
  }
  return 0;
}
