// The settings of the filter: what `init` is given as JSON.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// Bytes, followed by a NUL that is not counted.
struct text {
  char *bytes;
  size_t length;
};

struct settings {
  struct text label;   // The key of the label.
  struct text *skip;   // The folders whose events are discarded.
  size_t skip_count;
};

// What is wrong, and where: a JSON pointer. Both are allocated.
struct settings_error {
  char *pointer;
  char *message;
};

extern const char settings_schema[];

// Reads settings. Stops at the first thing that is wrong, and returns false.
bool settings_read(const char *json, size_t length, struct settings *settings,
                   struct settings_error *error);
