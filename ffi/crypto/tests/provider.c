/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The smallest provider: it starts, and offers nothing. The type is that of openssl/core.h, written out so that it needs
 * no headers: a table of numbered functions that ends with number 0. */
typedef struct {
  int function_id;
  void (*function)(void);
} dispatch;

static void teardown(void) {}

/* 1024 is OSSL_FUNC_PROVIDER_TEARDOWN, openssl/core_dispatch.h. */
static const dispatch table[] = {{1024, teardown}, {0, 0}};

int OSSL_provider_init(const void *handle, const dispatch *core, const dispatch **out, void **context);
int OSSL_provider_init(const void *handle, const dispatch *core, const dispatch **out, void **context) {
  (void)handle;
  (void)core;
  *out = table;
  *context = (void *)table;
  return 1;
}
