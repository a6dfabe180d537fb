/*
 * A dunlin driver in C++17: the moving average of a file that holds one number, such as those in /sys.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What C++ adds to the rules in dunlin/driver.h: no exception leaves a function of the table. Each is wrapped in
 * `guarded`, which turns what is thrown into a negated errno and keeps its words for explain.
 */
#include <dunlin/driver.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

struct dunlin_device {
  std::string path;
  double scale = 1.0;
  std::vector<double> window;
  std::size_t width = 8;
  std::string why;

  double measure() {
    std::ifstream file(path);
    double value = 0.0;
    if (!(file >> value)) throw std::system_error(EIO, std::generic_category(), path + " holds no number");
    return value * scale;
  }
};

namespace {

/* Runs a body; what it throws becomes an errno, and its words go to say. */
template <typename Body, typename Say> int32_t guarded(Body body, Say say) noexcept {
  try {
    return body();
  } catch (const std::system_error &error) {
    say(error.what());
    return -error.code().value();
  } catch (const std::bad_alloc &) {
    say("no memory");
    return -ENOMEM;
  } catch (const std::invalid_argument &error) {
    say(error.what());
    return -EINVAL;
  } catch (...) {
    say("an unexpected exception");
    return -EIO;
  }
}

/* Keeps words for explain, unless there is no memory for them. */
auto keep(dunlin_device *self) {
  return [self](const char *said) noexcept {
    try {
      self->why = said;
    } catch (...) {
      self->why.clear();
    }
  };
}

constexpr std::array<dunlin_option_spec, 3> options{{
    {"path", "file that holds one number", nullptr, DUNLIN_OPTION_TEXT, DUNLIN_OPTION_REQUIRED, 0.0, 0.0},
    {"scale", "what the number is multiplied by", "1", DUNLIN_OPTION_FLOAT, 0, -1e9, 1e9},
    {"width", "readings in the average", "8", DUNLIN_OPTION_INT, 0, 1.0, 1000.0},
}};

int32_t average_open(const dunlin_option *given, uint32_t count, dunlin_text *why, dunlin_device **device) {
  return guarded(
      [&]() -> int32_t {
        auto self = std::make_unique<dunlin_device>();
        for (uint32_t i = 0; i < count; i++) {
          const std::string key = given[i].key, value = given[i].value;
          if (key == "path") self->path = value;
          if (key == "scale") self->scale = std::strtod(value.c_str(), nullptr);
          if (key == "width") self->width = std::strtoul(value.c_str(), nullptr, 0);
        }
        if (self->path.empty() || self->path.front() != '/') throw std::invalid_argument("path: give it from / on");
        self->window.reserve(self->width);
        *device = self.release(); /* only now, when nothing can throw any more */
        return 0;
      },
      [&](const char *said) noexcept { std::snprintf(why->bytes, sizeof why->bytes, "%s", said); });
}

int32_t average_channels(dunlin_device *, dunlin_channel *out, uint32_t cap) {
  if (cap >= 1) {
    std::strcpy(out[0].name, "average");
    std::strcpy(out[0].unit, "1");
    out[0].kind = DUNLIN_KIND_F64;
    out[0].min = -INFINITY;
    out[0].max = INFINITY;
  }
  return 1;
}

int32_t average_read(dunlin_device *self, dunlin_sample *out, uint32_t, uint32_t) {
  return guarded(
      [&]() -> int32_t {
        if (self->window.size() == self->width) self->window.erase(self->window.begin());
        self->window.push_back(self->measure());
        double sum = 0.0;
        for (double value : self->window) sum += value;
        *out = dunlin_sample{};
        out->value.f64 = sum / static_cast<double>(self->window.size());
        return 1;
      },
      keep(self));
}

int32_t average_close(dunlin_device *self) {
  delete self;
  return 0;
}

void average_explain(dunlin_device *self, dunlin_text *why) {
  std::snprintf(why->bytes, sizeof why->bytes, "%s", self->why.c_str());
}

} // namespace

const dunlin_driver dunlin_driver_entry = { /* dunlin/driver.h exports it */
    sizeof(dunlin_driver),
    DUNLIN_ABI_MAJOR,
    DUNLIN_ABI_MINOR,
    0,
    static_cast<uint32_t>(options.size()),
    "average",
    "1.0.0",
    "The moving average of a number in a file",
    options.data(),
    average_open,
    average_channels,
    average_read,
    average_close,
    average_explain,
    nullptr,
};
