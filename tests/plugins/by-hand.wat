;; A plugin written by hand: it keeps all. Tests put something else in the place of one of its
;; parts, each of which stands between a line `;; part <name>` and the next one. The description of
;; its interface, a custom section, is added by the tests as well.
(module
  (import "qatime:plugin/batches@0.1.0" "[method]batch.len"
    (func $len (param $batch i32) (result i32)))
  (import "qatime:plugin/batches@0.1.0" "[method]batch.bytes"
    (func $bytes (param $batch i32) (param $name i32) (param $name_length i32) (param $to i32)))
  (import "qatime:plugin/batches@0.1.0" "[resource-drop]batch" (func $drop (param $batch i32)))

  ;; part memory
  (memory (export "memory") 2)

  ;; part data
  (data (i32.const 16) "by-hand")
  (data (i32.const 32) "1.0.0")
  (data (i32.const 48) "path")

  ;; part realloc
  ;; Where the host puts what it hands over; given back all at once by the next call.
  (global $top (mut i32) (i32.const 65536))
  (func (export "cabi_realloc")
    (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (global.set $top
      (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.get $top)
    (global.set $top (i32.add (global.get $top) (local.get $size))))

  ;; part start

  ;; part describe
  (func (export "qatime:plugin/filter@0.1.0#describe") (result i32)
    (i32.store (i32.const 1024) (i32.const 16)) ;; name
    (i32.store (i32.const 1028) (i32.const 7))
    (i32.store (i32.const 1032) (i32.const 32)) ;; version
    (i32.store (i32.const 1036) (i32.const 5))
    (i32.store (i32.const 1040) (i32.const 16)) ;; summary
    (i32.store (i32.const 1044) (i32.const 7))
    (i32.store (i32.const 1048) (i32.const 0)) ;; settings-schema
    (i32.store (i32.const 1052) (i32.const 0))
    (i32.const 1024))

  ;; part init
  (func (export "qatime:plugin/filter@0.1.0#init")
    (param $settings i32) (param $settings_length i32) (result i32)
    (global.set $top (i32.const 65536))
    (i32.store8 (i32.const 2048) (i32.const 0)) ;; ok
    (i32.const 2048))

  ;; part run
  (func (export "qatime:plugin/filter@0.1.0#run") (param $batch i32) (result i32)
    (global.set $top (i32.const 65536))
    (i32.store8 (i32.const 3072) (i32.const 0)) ;; ok
    (i32.store (i32.const 3076) (i32.const 4096)) ;; verdicts: zeros, each of which is `keep`
    (i32.store (i32.const 3080) (call $len (local.get $batch)))
    (i32.store (i32.const 3084) (i32.const 0)) ;; edits
    (i32.store (i32.const 3088) (i32.const 0))
    (i32.store (i32.const 3092) (i32.const 0)) ;; labels
    (i32.store (i32.const 3096) (i32.const 0))
    (call $drop (local.get $batch))
    (i32.const 3072))

  ;; part end
)
