// A plugin that tries, by way of its C library, what a plugin must not have: files, folders, the
// environment, arguments, standard input, a clock that goes, a sleep. What came of each attempt it
// says in labels of the batch's first event. It also writes to standard output and error, and ends
// itself (`exit`) where the path of an event is `/exit`.

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

#include "plugin.h"

enum { ATTEMPTS_MAX = 16 };

static qatime_plugin_types_list_label_t labels;

static void say(const char *attempt, const char *result) {
  qatime_plugin_types_label_t *label = &labels.ptr[labels.len++];
  label->index = 0;
  plugin_string_dup(&label->key, attempt);
  plugin_string_dup(&label->value, result);
}

static void say_number(const char *attempt, long long number) {
  char text[32];
  snprintf(text, sizeof text, "%lld", number);
  say(attempt, text);
}

static void open_file(const char *attempt, const char *path, const char *mode) {
  FILE *file = fopen(path, mode);
  say(attempt, file != NULL ? "opened" : strerror(errno));
  if (file != NULL) fclose(file);
}

static void read_clock(const char *attempt, clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time) != 0) say(attempt, strerror(errno));
  else say_number(attempt, (long long)time.tv_sec * 1000000000 + time.tv_nsec);
}

static void try_everything(void) {
  open_file("read", "/etc/passwd", "r");
  open_file("write", "/tmp/written-by-a-plugin", "w");
  DIR *folder = opendir("/");
  say("folder", folder != NULL ? "opened" : strerror(errno));
  say("environment", getenv("PATH") != NULL ? "seen" : "empty");
  size_t count, size;
  say_number("arguments", __wasi_args_sizes_get(&count, &size) == 0 ? (long long)count : -1);
  char byte;
  say_number("input", (long long)read(STDIN_FILENO, &byte, 1));
  read_clock("clock", CLOCK_REALTIME);
  read_clock("clock_again", CLOCK_REALTIME);
  read_clock("monotonic", CLOCK_MONOTONIC);
  say_number("sleep", poll(NULL, 0, 3600000));
  unsigned char random[8];
  char text[17];
  if (getentropy(random, sizeof random) != 0) say("random", strerror(errno));
  for (int i = 0; i < 8; i++) snprintf(text + 2 * i, 3, "%02x", random[i]);
  say("random", text);
  say_number("output", printf("a line for standard output\n") + fflush(stdout));
  say_number("error", fprintf(stderr, "a line for standard error, \033[31mred\033[0m\n"));
}

void exports_qatime_plugin_filter_describe(qatime_plugin_types_description_t *description) {
  plugin_string_dup(&description->name, "sealed");
  plugin_string_dup(&description->version, "0.1.0");
  plugin_string_dup(&description->summary, "Tries what a plugin must not have.");
  plugin_string_dup(&description->settings_schema, "");
}

bool exports_qatime_plugin_filter_init(plugin_string_t *settings,
                                       exports_qatime_plugin_filter_list_config_error_t *errors) {
  (void)errors;
  plugin_string_free(settings);
  return true;
}

bool exports_qatime_plugin_filter_run(exports_qatime_plugin_filter_borrow_batch_t batch,
                                      exports_qatime_plugin_filter_outcome_t *outcome,
                                      plugin_string_t *error) {
  plugin_list_string_t paths;
  qatime_plugin_types_column_error_t column_error;
  plugin_string_t column;
  plugin_string_set(&column, "path");
  if (!qatime_plugin_batches_method_batch_text(batch, &column, &paths, &column_error)) {
    plugin_string_dup(error, "no column path");
    return false;
  }
  labels.ptr = calloc(ATTEMPTS_MAX, sizeof *labels.ptr);
  labels.len = 0;
  try_everything();
  memset(outcome, 0, sizeof *outcome);
  outcome->verdicts.len = paths.len;
  outcome->verdicts.ptr = calloc(paths.len, sizeof *outcome->verdicts.ptr);  // all zero: keep
  outcome->labels = labels;
  for (size_t i = 0; i < paths.len; i++)
    if (paths.ptr[i].len == 5 && memcmp(paths.ptr[i].ptr, "/exit", 5) == 0) exit(3);
  plugin_list_string_free(&paths);
  return true;
}
