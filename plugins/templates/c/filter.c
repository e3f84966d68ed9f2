// Drops what is done to temporary files: those whose path ends in `.tmp`.
//
// Put your own filter in its place, and into `cases/` what it is to say of your audit lines. The
// interface is bindings/plugin.h, explained in wit/plugin.wit.
//
// What a plugin answers is freed by the bindings, each string and list on its own: everything in an
// answer has to be allocated, and be its own copy (`plugin_string_dup`).

#include <stdlib.h>
#include <string.h>

#include "bindings/plugin.h"

enum {
  KEEP = QATIME_PLUGIN_TYPES_VERDICT_KEEP,
  DISCARD = QATIME_PLUGIN_TYPES_VERDICT_DISCARD,
};

static const char suffix[] = ".tmp";

void exports_qatime_plugin_filter_describe(qatime_plugin_types_description_t *description) {
  plugin_string_dup(&description->name, "plugin-name");
  plugin_string_dup(&description->version, "0.1.0");
  plugin_string_dup(&description->summary, "Drops what is done to temporary files");
  plugin_string_dup(&description->settings_schema,
                    "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {}}");
}

// This filter has no settings: anything but an empty table is a mistake.
bool exports_qatime_plugin_filter_init(plugin_string_t *json,
                                       exports_qatime_plugin_filter_list_config_error_t *errors) {
  bool empty = json->len == 2 && memcmp(json->ptr, "{}", 2) == 0;
  plugin_string_free(json);
  if (empty) return true;
  errors->len = 1;
  errors->ptr = malloc(sizeof *errors->ptr);
  if (errors->ptr == NULL) abort();
  plugin_string_dup(&errors->ptr->pointer, "");
  plugin_string_dup(&errors->ptr->message, "this filter has no settings; leave them out");
  return false;
}

// Paths are bytes: names of files need not be UTF-8, and no NUL ends them.
static bool is_temporary(const uint8_t *path, size_t length) {
  size_t end = sizeof suffix - 1;
  return length >= end && memcmp(path + length - end, suffix, end) == 0;
}

bool exports_qatime_plugin_filter_run(exports_qatime_plugin_filter_borrow_batch_t batch,
                                      exports_qatime_plugin_filter_outcome_t *outcome,
                                      plugin_string_t *error) {
  qatime_plugin_types_packed_t paths;
  qatime_plugin_types_column_error_t column_error;
  plugin_string_t column;
  plugin_string_set(&column, "path");
  if (!qatime_plugin_batches_method_batch_bytes(batch, &column, &paths, &column_error)) {
    plugin_string_dup(error, "this qatime has no column `path`");
    return false;
  }

  size_t count = paths.ends.len;
  memset(outcome, 0, sizeof *outcome);
  outcome->verdicts.len = count;
  outcome->verdicts.ptr = malloc(count * sizeof *outcome->verdicts.ptr);
  if (outcome->verdicts.ptr == NULL) abort();

  uint32_t start = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t end = paths.ends.ptr[i];
    bool drop = is_temporary(paths.bytes.ptr + start, end - start);
    outcome->verdicts.ptr[i] = drop ? DISCARD : KEEP;
    start = end;
  }
  qatime_plugin_types_packed_free(&paths);
  return true;
}
