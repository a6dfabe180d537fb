/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * host: what the gateway knows of itself, from /proc, /sys, statvfs and libsensors. Channels are fixed at open; a file
 * that goes away afterwards makes its channels bad, not the device. Only what was there at open becomes a channel, so
 * that a sandbox that grants little yields few channels rather than an error. */
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <sensors/error.h>
#include <sensors/sensors.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define CHANNELS_MAX 1024u
#define ROOT_BYTES 200u
#define TARGET_BYTES 200u
#define FILE_BYTES 65536u
#define ZONES_MAX 64u

typedef enum origin {
  FROM_LOAD,    /* field `index` of loadavg */
  FROM_MEMORY,  /* line `target` of meminfo, in kB */
  FROM_UPTIME,
  FROM_NETWORK, /* field `index` of interface `target` in net/dev */
  FROM_DISK,    /* statvfs of `target`: 0 = total, 1 = free to users, 2 = used in percent */
  FROM_ZONE,    /* thermal zone `target`, a path */
  FROM_SENSOR   /* libsensors */
} origin;

typedef struct probe {
  dunlin_channel channel;
  origin origin;
  unsigned index;
  char target[TARGET_BYTES];
  const sensors_chip_name *chip;
  int subfeature;
} probe;

struct dunlin_device {
  char proc[ROOT_BYTES];
  char sys[ROOT_BYTES];
  bool sensors;
  uint32_t count;
  uint32_t next; /* probe to read first: what did not fit in the last call */
  probe probes[CHANNELS_MAX];
  char file[FILE_BYTES];
};

/* libsensors is global to the process, devices are not: the first initialises, the last cleans up. Only the device
 * thread touches it. */
static unsigned sensors_users;

/* Reads a small file whole; false where it is absent, unreadable, empty or too long. */
static bool slurp(dunlin_device *d, const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  size_t used = 0;
  ssize_t got = 0;
  do {
    got = read(fd, d->file + used, sizeof d->file - 1 - used);
    used += got > 0 ? (size_t)got : 0;
  } while ((got > 0 && used < sizeof d->file - 1) || (got < 0 && errno == EINTR));
  (void)close(fd);
  d->file[used] = '\0';
  return got == 0 && used > 0;
}

static bool slurp_below(dunlin_device *d, const char *root, const char *name) {
  char path[ROOT_BYTES + TARGET_BYTES];
  (void)snprintf(path, sizeof path, "%s/%s", root, name);
  return slurp(d, path);
}

/* The index-th number from text on, separated by blanks. */
static bool number_at(const char *text, unsigned index, double *out) {
  for (;;) {
    char *end = NULL;
    *out = strtod(text, &end);
    if (end == text || !isfinite(*out)) {
      return false;
    }
    if (index-- == 0) {
      return true;
    }
    text = end;
  }
}

/* What follows `label:` at the start of a line. */
static const char *after_label(const char *text, const char *label) {
  size_t length = strlen(label);
  for (const char *line = text; line != NULL && *line != '\0';) {
    line += strspn(line, " ");
    if (strncmp(line, label, length) == 0 && line[length] == ':') {
      return line + length + 1;
    }
    line = strchr(line, '\n');
    line = line == NULL ? NULL : line + 1;
  }
  return NULL;
}

/* statvfs of a mount point without its disk tells of the file system below, which must not pass for the disk. Where the
 * kernel cannot tell (before 5.8), the path is believed. */
static bool is_mounted(const char *path) {
  struct statx s;
  return statx(AT_FDCWD, path, 0, 0, &s) == 0 && ((s.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) == 0 ||
                                                  (s.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 ||
                                                  strcmp(path, "/") == 0); /* of a chroot */
}

static bool disk_value(const probe *p, double *out) {
  struct statvfs s;
  if (!is_mounted(p->target) || statvfs(p->target, &s) != 0 || s.f_blocks == 0) {
    return false;
  }
  double unit = (double)s.f_frsize;
  double used = (double)(s.f_blocks - s.f_bfree);
  if (p->index == 2) {
    *out = 100.0 * used / (used + (double)s.f_bavail); /* as df: what root keeps for itself does not count */
  } else {
    *out = unit * (double)(p->index == 0 ? s.f_blocks : s.f_bavail);
  }
  return true;
}

static bool probe_value(dunlin_device *d, const probe *p, double *out) {
  const char *text = NULL;
  switch (p->origin) {
  case FROM_LOAD:
    return slurp_below(d, d->proc, "loadavg") && number_at(d->file, p->index, out);
  case FROM_UPTIME:
    return slurp_below(d, d->proc, "uptime") && number_at(d->file, 0, out);
  case FROM_MEMORY:
    text = slurp_below(d, d->proc, "meminfo") ? after_label(d->file, p->target) : NULL;
    if (text == NULL || !number_at(text, 0, out)) {
      return false;
    }
    *out *= 1024.0;
    return true;
  case FROM_NETWORK:
    text = slurp_below(d, d->proc, "net/dev") ? after_label(d->file, p->target) : NULL;
    return text != NULL && number_at(text, p->index, out);
  case FROM_DISK:
    return disk_value(p, out);
  case FROM_ZONE:
    if (!slurp(d, p->target) || !number_at(d->file, 0, out)) {
      return false;
    }
    *out /= 1000.0; /* the kernel gives millidegrees */
    return true;
  case FROM_SENSOR:
    return sensors_get_value(p->chip, p->subfeature, out) == 0 && isfinite(*out);
  }
  return false;
}

/* Replaces what a channel name may not hold. */
static void name_clean(char *name) {
  for (; *name != '\0'; name++) {
    bool plain = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || (*name >= '0' && *name <= '9');
    if (!plain && strchr("_.-", *name) == NULL) {
      *name = '_';
    }
  }
}

static bool name_taken(const dunlin_device *d, const char *name) {
  for (uint32_t i = 0; i < d->count; i++) {
    if (strcmp(d->probes[i].channel.name, name) == 0) {
      return true;
    }
  }
  return false;
}

/* Keeps the candidate as a channel; a name that is taken gets a number. */
static void keep(dunlin_device *d, probe *p, const char *unit, double min, double max) {
  dunlin_channel *c = &p->channel;
  name_clean(c->name);
  for (unsigned i = 2; i < 1000 && name_taken(d, c->name); i++) {
    char numbered[DUNLIN_NAME_MAX];
    (void)snprintf(numbered, sizeof numbered, "%.58s.%u", c->name, i);
    memcpy(c->name, numbered, sizeof numbered);
  }
  if (d->count == CHANNELS_MAX || name_taken(d, c->name)) {
    return;
  }
  (void)snprintf(c->unit, sizeof c->unit, "%s", unit);
  c->kind = DUNLIN_KIND_F64;
  c->min = min;
  c->max = max;
  d->probes[d->count++] = *p;
}

static void find_fixed(dunlin_device *d) {
  static const struct {
    const char *name, *target, *unit;
    origin origin;
    unsigned index;
  } fixed[] = {
      {"load.1", "", "1", FROM_LOAD, 0},
      {"load.5", "", "1", FROM_LOAD, 1},
      {"load.15", "", "1", FROM_LOAD, 2},
      {"memory.total", "MemTotal", "By", FROM_MEMORY, 0},
      {"memory.available", "MemAvailable", "By", FROM_MEMORY, 0},
      {"swap.total", "SwapTotal", "By", FROM_MEMORY, 0},
      {"swap.free", "SwapFree", "By", FROM_MEMORY, 0},
      {"uptime", "", "s", FROM_UPTIME, 0},
  };
  for (size_t i = 0; i < COUNT_OF(fixed); i++) {
    probe p = {.origin = fixed[i].origin, .index = fixed[i].index};
    (void)snprintf(p.channel.name, sizeof p.channel.name, "%s", fixed[i].name);
    (void)snprintf(p.target, sizeof p.target, "%s", fixed[i].target);
    double value = 0;
    if (probe_value(d, &p, &value)) {
      keep(d, &p, fixed[i].unit, 0, INFINITY);
    }
  }
}

/* Named by the user, so these become channels even while the mount point or interface is absent. */
static int32_t find_named(dunlin_device *d, const option_set *set, dunlin_text *why) {
  static const struct {
    const char *suffix, *unit;
    unsigned index;
  } network[] = {{"rx", "By", 0}, {"rx_errors", "1", 2}, {"tx", "By", 8}, {"tx_errors", "1", 10}},
    disk[] = {{"total", "By", 0}, {"available", "By", 1}, {"used", "%", 2}};
  for (int which = 0; which < 2; which++) {
    const char *key = which == 0 ? "disks" : "interfaces";
    const char *text = NULL;
    for (uint32_t i = 0; (text = option_list_at(set, key, i)) != NULL; i++) {
      if (*text == '\0' || strlen(text) >= TARGET_BYTES || (which == 0 && *text != '/')) {
        explain_set(why, "%s[%u]: '%.60s' is not %s", key, i, text, which == 0 ? "an absolute path" : "an interface");
        return -EINVAL;
      }
      for (size_t j = 0; j < (which == 0 ? COUNT_OF(disk) : COUNT_OF(network)); j++) {
        probe p = {.origin = which == 0 ? FROM_DISK : FROM_NETWORK,
                   .index = which == 0 ? disk[j].index : network[j].index};
        (void)snprintf(p.target, sizeof p.target, "%s", text);
        (void)snprintf(p.channel.name, sizeof p.channel.name, "%s.%.40s.%s", which == 0 ? "disk" : "net",
                       which == 1            ? text
                       : text[1] == '\0' ? "root"
                                             : text + 1,
                       which == 0 ? disk[j].suffix : network[j].suffix);
        keep(d, &p, which == 0 ? disk[j].unit : network[j].unit, 0, which == 0 && j == 2 ? 100 : INFINITY);
      }
    }
  }
  return 0;
}

static void find_zones(dunlin_device *d) {
  for (unsigned i = 0; i < ZONES_MAX; i++) {
    char path[ROOT_BYTES + 64];
    probe p = {.origin = FROM_ZONE};
    (void)snprintf(path, sizeof path, "%s/class/thermal/thermal_zone%u/type", d->sys, i);
    if (!slurp(d, path)) {
      continue; /* zones may be numbered with holes */
    }
    d->file[strcspn(d->file, "\n")] = '\0';
    (void)snprintf(p.channel.name, sizeof p.channel.name, "zone%u.%.40s", i, d->file);
    if (snprintf(p.target, sizeof p.target, "%s/class/thermal/thermal_zone%u/temp", d->sys, i) <
        (int)sizeof p.target) {
      keep(d, &p, "Cel", -INFINITY, INFINITY);
    }
  }
}

static void find_sensors(dunlin_device *d) {
  int at = 0;
  const sensors_chip_name *chip = NULL;
  while ((chip = sensors_get_detected_chips(NULL, &at)) != NULL) {
    char chip_name[80];
    if (sensors_snprintf_chip_name(chip_name, sizeof chip_name, chip) < 0) {
      continue;
    }
    int at_feature = 0;
    const sensors_feature *feature = NULL;
    while ((feature = sensors_get_features(chip, &at_feature)) != NULL) {
      static const struct {
        sensors_subfeature_type type;
        const char *unit;
      } inputs[] = {{SENSORS_SUBFEATURE_TEMP_INPUT, "Cel"},
                    {SENSORS_SUBFEATURE_FAN_INPUT, "/min"},
                    {SENSORS_SUBFEATURE_IN_INPUT, "V"},
                    {SENSORS_SUBFEATURE_CURR_INPUT, "A"},
                    {SENSORS_SUBFEATURE_POWER_INPUT, "W"}};
      for (size_t i = 0; i < COUNT_OF(inputs); i++) {
        const sensors_subfeature *s = sensors_get_subfeature(chip, feature, inputs[i].type);
        if (s != NULL && (s->flags & SENSORS_MODE_R) != 0) {
          probe p = {.origin = FROM_SENSOR, .chip = chip, .subfeature = s->number};
          (void)snprintf(p.channel.name, sizeof p.channel.name, "%.40s.%.20s", chip_name, feature->name);
          keep(d, &p, inputs[i].unit, -INFINITY, INFINITY);
        }
      }
    }
  }
}

static int32_t host_close(dunlin_device *d) {
  if (d->sensors && --sensors_users == 0) {
    sensors_cleanup();
  }
  free(d);
  return 0;
}

static int32_t host_open(const dunlin_option *options, uint32_t count, dunlin_text *why, dunlin_device **device) {
  option_set set = {options, count, ""};
  dunlin_device *d = calloc(1, sizeof *d);
  if (d == NULL) {
    return -ENOMEM;
  }
  bool hwmon = true;
  int32_t status = 0;
  if ((status = option_copy(&set, "proc", "/proc", d->proc, sizeof d->proc, why)) != 0 ||
      (status = option_copy(&set, "sys", "/sys", d->sys, sizeof d->sys, why)) != 0 ||
      (status = option_flag(&set, "hwmon", true, &hwmon, why)) != 0 || (status = find_named(d, &set, why)) != 0) {
    (void)host_close(d);
    return status;
  }
  find_fixed(d);
  find_zones(d);
  /* libsensors knows one place, /sys; it fails where the sandbox hides that or its configuration, which means no
   * sensors to who did not ask for them. */
  int error = hwmon && sensors_users == 0 ? sensors_init(NULL) : 0;
  if (hwmon && error == 0) {
    sensors_users++;
    d->sensors = true;
    find_sensors(d);
  } else if (hwmon && option_find(&set, "hwmon") != NULL) {
    explain_set(why, "hwmon: libsensors: %s; grant read access to /sys, /etc/sensors3.conf and /etc/sensors.d",
                sensors_strerror(error));
    (void)host_close(d);
    return -EACCES;
  }
  if (d->count == 0) {
    explain_set(why, "proc: nothing is readable below %.60s and %.60s; grant read access to them", d->proc, d->sys);
    (void)host_close(d);
    return -ENODEV;
  }
  *device = d;
  return 0;
}

static int32_t host_channels(dunlin_device *d, dunlin_channel *out, uint32_t cap) {
  for (uint32_t i = 0; i < cap && i < d->count; i++) {
    out[i] = d->probes[i].channel;
  }
  return (int32_t)d->count;
}

static int32_t host_read(dunlin_device *d, dunlin_sample *out, uint32_t cap, uint32_t timeout_ms) {
  (void)timeout_ms; /* nothing here waits */
  uint32_t used = 0;
  while (used < cap && d->next < d->count) {
    double value = 0;
    bool good = probe_value(d, &d->probes[d->next], &value);
    out[used++] = (dunlin_sample){.value = {.f64 = good ? value : 0},
                                  .channel = d->next++,
                                  .quality = good ? DUNLIN_QUALITY_GOOD : DUNLIN_QUALITY_BAD};
  }
  d->next = d->next == d->count ? 0 : d->next;
  return (int32_t)used;
}

static const dunlin_option_spec specs[] = {
    {"disks", "Mount points to report the usage of.", NULL, DUNLIN_OPTION_TEXT, DUNLIN_OPTION_LIST, 0, 0},
    {"interfaces", "Network interfaces to report the traffic of.", NULL, DUNLIN_OPTION_TEXT, DUNLIN_OPTION_LIST, 0, 0},
    {"hwmon", "Whether to report what libsensors finds.", "true", DUNLIN_OPTION_BOOL, 0, 0, 0},
    {"proc", "Where the proc file system is.", "/proc", DUNLIN_OPTION_TEXT, 0, 0, 0},
    {"sys", "Where the sys file system is (thermal zones).", "/sys", DUNLIN_OPTION_TEXT, 0, 0, 0},
};

DUNLIN_EXPORT const dunlin_driver dunlin_driver_entry = {
    .struct_size = sizeof(dunlin_driver),
    .abi_major = DUNLIN_ABI_MAJOR,
    .abi_minor = DUNLIN_ABI_MINOR,
    .option_count = (uint32_t)COUNT_OF(specs),
    .id = "host",
    .version = "1.0.0",
    .summary = "The gateway's own load, memory, disks, network, uptime and temperatures.",
    .options = specs,
    .open = host_open,
    .channels = host_channels,
    .read = host_read,
    .close = host_close,
};
