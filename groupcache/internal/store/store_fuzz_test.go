package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

// FuzzStore takes each four bytes for an operation on a small store, and compares with a map after
// each.
func FuzzStore(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x10\x01\x02\x03\x20\x01\x02\x03"))
	f.Add([]byte(strings.Repeat("\x00a\xff\x00\x01a\x01\x05\x02a\x00\x00", 20)))
	f.Fuzz(func(t *testing.T, program []byte) {
		now := int64(1)
		values := map[string]store.View{}
		s := store.New(store.Options{MaxBytes: 8 << 10, Shards: 2, Stale: 3, Now: func() time.Time { return time.Unix(0, now) }})
		for ; len(program) >= 4; program = program[4:] {
			key := string(program[1:2])
			switch op := program[0] % 8; op {
			case 0, 1, 2:
				it := store.Item{Key: key, Value: strings.Repeat(key, int(program[2])*int(op*op)), Flags: program[2]}
				if program[3] != 0 {
					it.Expire = now + int64(program[3]) - 5
				}
				if delete(values, key); s.Put(it) {
					values[key] = store.View{Value: it.Value, Expire: it.Expire, Flags: it.Flags}
				}
			case 3:
				s.Remove(key)
				delete(values, key)
			case 4:
				s.Sweep(int(program[2]))
			case 5:
				now += int64(program[2])
			default:
				got, ok := s.Get(key)
				want, there := values[key]
				want.Stale = want.Expire != 0 && now >= want.Expire
				if ok && (!there || got != want || want.Stale && now-want.Expire >= 3) {
					t.Fatalf("Get(%q) at %d = %+v, want %+v, %v", key, now, got, want, there)
				}
			}
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
