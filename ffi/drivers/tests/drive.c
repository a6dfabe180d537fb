/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * drive <driver.so> [key=value ...]: opens one device and obeys commands from standard input, one a line:
 *   read <cap> <timeout_ms> | frames <cap> <timeout_ms> | write <channel> f|i|b <value> <timeout_ms> | sleep <ms> |
 *   reopen <times> <timeout_ms> (close and open so often, with one read in between)
 * One line of output per fact, then `end <status>` per command. */
#include <dlfcn.h>
#include <dunlin/ext/actuate.h>
#include <dunlin/ext/frames.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const dunlin_driver *driver;
static dunlin_device *device;
static uint32_t kinds[4096];

static void end(int32_t status) {
  dunlin_text why;
  memset(&why, 0, sizeof why);
  if (status < 0 && driver->explain != NULL) {
    driver->explain(device, &why);
  }
  printf("end %d %s\n", status, why.bytes);
  fflush(stdout);
}

static void reopen(const dunlin_option *options, uint32_t count, uint32_t times, uint32_t timeout_ms) {
  dunlin_text why;
  dunlin_sample out[4];
  int32_t status = 0;
  for (uint32_t i = 0; i < times && status == 0; i++) {
    (void)driver->close(device);
    memset(&why, 0, sizeof why);
    status = driver->open(options, count, &why, &device);
    if (status == 0) {
      (void)driver->read(device, out, 4, timeout_ms);
    }
  }
  printf("end %d %s\n", status, why.bytes);
  if (status != 0) {
    exit(3); /* there is no device any more */
  }
}

static void read_samples(uint32_t cap, uint32_t timeout_ms) {
  dunlin_sample *out = malloc((size_t)cap * sizeof *out); /* exact size: Valgrind sees what goes past it */
  int32_t n = out == NULL ? -1 : driver->read(device, out, cap, timeout_ms);
  for (int32_t i = 0; i < n; i++) {
    const dunlin_sample *s = &out[i];
    printf("sample %" PRId64 " %u %u %u ", s->monotonic_ns, s->channel, s->quality, s->lost);
    if (kinds[s->channel % 4096] == DUNLIN_KIND_F64) {
      printf("%.17g\n", s->value.f64);
    } else {
      printf("%" PRId64 "\n", s->value.i64);
    }
  }
  free(out);
  end(n);
}

static void read_frames(uint32_t cap, uint32_t timeout_ms) {
  const dunlin_frames_1 *frames = driver->get_extension(DUNLIN_FRAMES_1);
  dunlin_frame *out = malloc((size_t)cap * sizeof *out);
  uint8_t *bytes = malloc(65536);
  int32_t n = -1;
  if (frames != NULL && out != NULL && bytes != NULL) {
    n = frames->read_frames(device, bytes, 65536, out, cap, timeout_ms);
  }
  for (int32_t i = 0; i < n; i++) {
    printf("frame %" PRId64 " %u %u ", out[i].monotonic_ns, out[i].channel, out[i].lost);
    for (uint32_t j = 0; j < out[i].length; j++) {
      printf("%02x", bytes[out[i].offset + j]);
    }
    printf("\n");
  }
  free(bytes);
  free(out);
  end(n);
}

static void write_value(uint32_t channel, char kind, const char *text, uint32_t timeout_ms) {
  const dunlin_actuate_1 *actuate = driver->get_extension(DUNLIN_ACTUATE_1);
  dunlin_value value = {.kind = kind == 'f' ? DUNLIN_KIND_F64 : kind == 'i' ? DUNLIN_KIND_I64 : DUNLIN_KIND_BOOL};
  if (kind == 'f') {
    value.value.f64 = strtod(text, NULL);
  } else {
    value.value.i64 = strtoll(text, NULL, 0);
  }
  end(actuate == NULL ? -1 : actuate->write(device, channel, &value, timeout_ms));
}

int main(int argc, char **argv) {
  void *library = argc < 2 ? NULL : dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  driver = library == NULL ? NULL : dlsym(library, "dunlin_driver_entry");
  if (driver == NULL) {
    fprintf(stderr, "%s\n", argc < 2 ? "usage: drive driver.so [key=value ...]" : dlerror());
    return 2;
  }
  printf("driver %s %u.%u %u %u\n", driver->id, driver->abi_major, driver->abi_minor, driver->struct_size,
         driver->flags);
  for (uint32_t i = 0; i < driver->option_count; i++) {
    printf("option %s %u %u\n", driver->options[i].key, driver->options[i].kind, driver->options[i].flags);
  }
  uint32_t count = (uint32_t)(argc - 2);
  dunlin_option *options = calloc(count + 1u, sizeof *options);
  for (uint32_t i = 0; options != NULL && i < count; i++) {
    char *equals = strchr(argv[i + 2], '=');
    if (equals == NULL) {
      return 2;
    }
    *equals = '\0';
    options[i] = (dunlin_option){argv[i + 2], equals + 1};
  }
  dunlin_text why;
  memset(&why, 0, sizeof why);
  int32_t status = driver->open(options, count, &why, &device);
  printf("open %d %s\n", status, why.bytes);
  if (status != 0) {
    free(options);
    return 0;
  }
  dunlin_channel *channels = calloc(4096, sizeof *channels);
  int32_t total = channels == NULL ? -1 : driver->channels(device, channels, 4096);
  for (int32_t i = 0; i < total; i++) {
    kinds[i] = channels[i].kind;
    printf("channel %s %s %u %u %.17g %.17g\n", channels[i].name, channels[i].unit, channels[i].kind,
           channels[i].flags, channels[i].min, channels[i].max);
  }
  free(channels);
  end(total);
  char line[256];
  while (fgets(line, sizeof line, stdin) != NULL) {
    unsigned a = 0;
    unsigned b = 0;
    char kind = 0;
    char text[64];
    if (sscanf(line, "read %u %u", &a, &b) == 2) {
      read_samples(a, b);
    } else if (sscanf(line, "frames %u %u", &a, &b) == 2) {
      read_frames(a, b);
    } else if (sscanf(line, "write %u %c %63s %u", &a, &kind, text, &b) == 4) {
      write_value(a, kind, text, b);
    } else if (sscanf(line, "reopen %u %u", &a, &b) == 2) {
      reopen(options, count, a, b);
    } else if (sscanf(line, "sleep %u", &a) == 1) {
      usleep(a * 1000u);
      end(0);
    } else {
      return 2;
    }
  }
  printf("close %d\n", driver->close(device));
  free(options);
  return 0;
}
