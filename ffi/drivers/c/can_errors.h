/* SPDX-License-Identifier: MIT OR Apache-2.0
 * What the error frames of a CAN controller say. */
#ifndef DUNLIN_DRIVERS_CAN_ERRORS_H
#define DUNLIN_DRIVERS_CAN_ERRORS_H

#include <linux/can.h>
#include <linux/can/error.h>
#include <stddef.h>
#include <stdint.h>

/* Errors that mean something to a reader. Not CAN_ERR_BUSERROR, which a broken wire sends thousands of times a second. */
#define ERRORS \
  (CAN_ERR_TX_TIMEOUT | CAN_ERR_CRTL | CAN_ERR_TRX | CAN_ERR_ACK | CAN_ERR_BUSOFF | CAN_ERR_RESTARTED)

/* NULL where nothing is wrong by it. */
static inline const char *can_error_text(canid_t class, const uint8_t *data) {
  if ((class & CAN_ERR_BUSOFF) != 0) {
    return "bus-off: too many errors while sending; `ip link set NAME type can restart-ms 100` makes it come back";
  }
  if ((class & CAN_ERR_TX_TIMEOUT) != 0) {
    return "a frame could not be sent in time";
  }
  if ((class & CAN_ERR_ACK) != 0) {
    return "nobody acknowledges what is sent";
  }
  if ((class & CAN_ERR_TRX) != 0) {
    return "the transceiver reports a fault of the wires";
  }
  const uint8_t passive = CAN_ERR_CRTL_RX_PASSIVE | CAN_ERR_CRTL_TX_PASSIVE;
  return (class & CAN_ERR_CRTL) != 0 && (data[1] & passive) != 0 ? "error-passive: more than 127 errors" : NULL;
}

#endif
