/* Sizes and offsets of the ABI structs as the C compiler sees them, in the order of LAYOUT in tests/layout.rs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <stddef.h>

#include <dunlin/driver.h>
#include <dunlin/ext/actuate.h>
#include <dunlin/ext/frames.h>

/* The same figures, fixed for ABI major version 1 whatever the target. */
#define ASSERT_SIZE(type, bytes) typedef char dunlin_size_of_##type[sizeof(type) == (bytes) ? 1 : -1]
ASSERT_SIZE(dunlin_option, 16);
ASSERT_SIZE(dunlin_option_spec, 48);
ASSERT_SIZE(dunlin_channel, 128);
ASSERT_SIZE(dunlin_sample, 32);
ASSERT_SIZE(dunlin_text, 256);
ASSERT_SIZE(dunlin_driver, 96);
ASSERT_SIZE(dunlin_frame, 24);
ASSERT_SIZE(dunlin_frames_1, 16);
ASSERT_SIZE(dunlin_value, 16);
ASSERT_SIZE(dunlin_actuate_1, 16);

const size_t dunlin_layout[] = {
    sizeof(dunlin_option),
    offsetof(dunlin_option, key),
    offsetof(dunlin_option, value),
    sizeof(dunlin_option_spec),
    offsetof(dunlin_option_spec, key),
    offsetof(dunlin_option_spec, summary),
    offsetof(dunlin_option_spec, fallback),
    offsetof(dunlin_option_spec, kind),
    offsetof(dunlin_option_spec, flags),
    offsetof(dunlin_option_spec, min),
    offsetof(dunlin_option_spec, max),
    sizeof(dunlin_channel),
    offsetof(dunlin_channel, name),
    offsetof(dunlin_channel, unit),
    offsetof(dunlin_channel, kind),
    offsetof(dunlin_channel, flags),
    offsetof(dunlin_channel, min),
    offsetof(dunlin_channel, max),
    offsetof(dunlin_channel, reserved),
    sizeof(dunlin_number),
    sizeof(dunlin_sample),
    offsetof(dunlin_sample, monotonic_ns),
    offsetof(dunlin_sample, value),
    offsetof(dunlin_sample, channel),
    offsetof(dunlin_sample, quality),
    offsetof(dunlin_sample, lost),
    offsetof(dunlin_sample, reserved),
    sizeof(dunlin_text),
    sizeof(dunlin_driver),
    offsetof(dunlin_driver, struct_size),
    offsetof(dunlin_driver, abi_major),
    offsetof(dunlin_driver, abi_minor),
    offsetof(dunlin_driver, flags),
    offsetof(dunlin_driver, option_count),
    offsetof(dunlin_driver, id),
    offsetof(dunlin_driver, version),
    offsetof(dunlin_driver, summary),
    offsetof(dunlin_driver, options),
    offsetof(dunlin_driver, open),
    offsetof(dunlin_driver, channels),
    offsetof(dunlin_driver, read),
    offsetof(dunlin_driver, close),
    offsetof(dunlin_driver, explain),
    offsetof(dunlin_driver, get_extension),
    sizeof(dunlin_frame),
    offsetof(dunlin_frame, monotonic_ns),
    offsetof(dunlin_frame, offset),
    offsetof(dunlin_frame, length),
    offsetof(dunlin_frame, channel),
    offsetof(dunlin_frame, lost),
    sizeof(dunlin_frames_1),
    offsetof(dunlin_frames_1, struct_size),
    offsetof(dunlin_frames_1, frame_max),
    offsetof(dunlin_frames_1, read_frames),
    sizeof(dunlin_value),
    offsetof(dunlin_value, value),
    offsetof(dunlin_value, kind),
    offsetof(dunlin_value, reserved),
    sizeof(dunlin_actuate_1),
    offsetof(dunlin_actuate_1, struct_size),
    offsetof(dunlin_actuate_1, reserved),
    offsetof(dunlin_actuate_1, write),
};
const size_t dunlin_layout_len = sizeof(dunlin_layout) / sizeof(dunlin_layout[0]);
