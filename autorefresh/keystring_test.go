package autorefresh_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/holdfast-go/holdfast/autorefresh"
)

type tenantKey struct{ Tenant, Name string }

// Two keys of a struct had one text, "{acme prod report}", and so one place in the second level:
// one tenant was served another's values.
func TestTenantsDoNotMeetInTheSecondLevel(t *testing.T) {
	store := newShared()
	load := func(_ context.Context, key tenantKey, _ string) (string, error) {
		return key.Tenant + "'s " + key.Name, nil
	}
	for range 2 { // the second process adopts what the first has stored
		c, err := autorefresh.New(load, autorefresh.Options[tenantKey, string]{Period: time.Minute, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []tenantKey{{"acme", "prod report"}, {"acme prod", "report"}} {
			if got, err := c.Load(t.Context(), key); err != nil || got != key.Tenant+"'s "+key.Name {
				t.Errorf("Load(%q) = %q, %v", key, got, err)
			}
		}
		mustClose(t, c)
	}
	if len(store.values) != 2 {
		t.Errorf("%d values in the second level, want 2", len(store.values))
	}
}

// redacted keeps its secret from logs, and once kept it from the second level.
type redacted string

func (redacted) String() string { return "[secret]" }

type (
	level  int
	matrix [2][2]int8
	mixed  struct {
		On    bool
		Level level
		Name  redacted
		Tags  [2]string
		_     int
		pair  struct{ x, y float64 }
		sum   [4]byte
	}
)

func (level) String() string { return "level" }

func wantName[K comparable](t *testing.T, key K, want string) {
	t.Helper()
	if got, err := autorefresh.KeyName(key); err != nil || got != want {
		t.Errorf("name of %T %v = %q, %v, want %q", key, key, got, err, want)
	}
}

func TestNamesOfKeys(t *testing.T) {
	wantName(t, "plain", "plain")
	wantName(t, `with "quotes": and spaces`, `with "quotes": and spaces`)
	wantName(t, redacted("alpha"), "alpha")
	wantName(t, -42, "-42")
	wantName(t, level(3), "3")
	wantName(t, uint8(200), "200")
	wantName(t, true, "true")
	wantName(t, 2.5, "2.5")
	wantName(t, math.Copysign(0, -1), "0")
	wantName(t, math.Inf(1), "+Inf")
	wantName(t, 1+2i, "1 2")
	wantName(t, [4]byte{0, 1, 0xfe, 0xff}, "0001feff")
	wantName(t, [2]redacted{"a", "b,c"}, "1:a3:b,c")
	wantName(t, matrix{{1, -2}, {3, 4}}, "1,-2,3,4,")
	wantName(t, tenantKey{"acme", "prod report"}, "4:acme11:prod report")
	wantName(t, struct{}{}, "")
	key := mixed{On: true, Level: 7, Name: "n", Tags: [2]string{"", "ü"}, sum: [4]byte{9}}
	key.pair.x, key.pair.y = 1, 0.5
	wantName(t, key, "true,7,1:n0:2:ü1,0.5,09000000")
	if name, err := autorefresh.KeyName(math.NaN()); err == nil {
		t.Errorf("name of NaN = %q: it is not equal to itself, want an error", name)
	}
}

func wantNameless[K comparable](t *testing.T, parts ...string) {
	t.Helper()
	var key K
	_, err := autorefresh.KeyName(key) // not New: to compile a cache for each type takes minutes
	for _, part := range append(parts, "Options.KeyString", "set a function") {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("New: %v, want %q named", err, part)
		}
	}
}

func TestKeysWithoutANameAreRefused(t *testing.T) {
	type keyed struct {
		ID   string
		Deep struct{ At time.Time }
	}
	wantNameless[any](t, "interface")
	wantNameless[*int](t, "*int", "ptr")
	wantNameless[chan int](t, "chan")
	wantNameless[unsafe.Pointer](t, "unsafe.Pointer")
	wantNameless[[2]error](t, "[2]error", "interface")
	wantNameless[keyed](t, "field Deep of autorefresh_test.keyed", "field loc of time.Time")
}

// pairKey and its likes are put together of the fuzzer's bytes.
type pairKey struct{ A, B string }

type deepKey struct {
	A [2]string
	B struct {
		N int64
		C string
	}
	D bool
	E [3]byte
	F float32
	G [2]int16
}

// FuzzKeysNeverMeet looks for two keys that differ and have one name.
func FuzzKeysNeverMeet(f *testing.F) {
	f.Add("acme", "prod report", "acme prod", "report", int64(1), int64(-1), []byte("abc"), []byte("abd"), float32(1), float32(1))
	f.Add("1:", "2:a", "1:2:", "a", int64(12), int64(1), []byte{}, []byte{0}, float32(0), float32(1e9))
	f.Add("", "1:x", "1:x", "", int64(0), int64(0), []byte("1,2"), []byte("12,"), float32(-1), float32(1))
	f.Fuzz(func(t *testing.T, a, b, c, d string, m, n int64, p, q []byte, x, y float32) {
		apart(t, a, c)
		apart(t, redacted(b), redacted(d))
		apart(t, m, n)
		apart(t, uint16(m), uint16(n))
		apart(t, x, y)
		apart(t, complex(x, y), complex(y, x))
		apart(t, pairKey{a, b}, pairKey{c, d})
		apart(t, pairKey{a, b}, pairKey{b, a})
		apart(t, [3]string{a, b, c}, [3]string{b, c, d})
		apart(t, [2]float32{x, y}, [2]float32{y, x})
		apart(t, deep(a, b, m, p, x), deep(c, d, n, q, y))
		apart(t, deep(a, b, m, p, x), deep(a, b, n, p, x))
		apart(t, deep(a, b, m, p, x), deep(a+b, "", m, p, x))
	})
}

func deep(a, b string, n int64, bytes []byte, x float32) (k deepKey) {
	k.A, k.B.N, k.B.C, k.D, k.F, k.G = [2]string{a, b}, n, b+a, n > 0, x, [2]int16{int16(n), int16(n >> 16)}
	copy(k.E[:], bytes)
	return k
}

func apart[K comparable](t *testing.T, a, b K) {
	t.Helper()
	first, errFirst := autorefresh.KeyName(a)
	second, errSecond := autorefresh.KeyName(b)
	switch {
	case errFirst != nil || errSecond != nil:
		if a == a && b == b { //nolint:gocritic // NaN is not.
			t.Errorf("%T %#v and %#v: %v, %v", a, a, b, errFirst, errSecond)
		}
	case (first == second) != (a == b):
		t.Errorf("%T: %#v is named %q, %#v is named %q", a, a, first, b, second)
	}
}

// TestMismatchOfKeys has processes share what they have of keys that are alike: a value carries the
// key it is of.
func TestMismatchOfKeys(t *testing.T) {
	words := []string{"", "a", "b", "a b", "ab", "a:", "1:a", ":", "1", "12", "2:", "\x00"}
	var pairs []tenantKey
	for _, a := range words {
		for _, b := range words {
			pairs = append(pairs, tenantKey{a, b})
		}
	}
	load := func(_ context.Context, key tenantKey, _ string) (string, error) { return fmt.Sprintf("%#v", key), nil }
	store := newShared()
	for range 2 {
		c, err := autorefresh.New(load, autorefresh.Options[tenantKey, string]{Period: time.Minute, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.LoadMulti(t.Context(), pairs)
		if err != nil {
			t.Error(err)
		}
		for _, key := range pairs {
			if want := fmt.Sprintf("%#v", key); got[key] != want {
				t.Errorf("Load(%s) = %s", want, got[key])
			}
		}
		mustClose(t, c)
	}
}
