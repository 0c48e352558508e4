package autorefresh_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

type (
	secretPrice struct {
		cents    int    //nolint:unused // it is lost.
		currency string //nolint:unused // as above.
	}
	item struct {
		ID    string `json:"id"`
		Price secretPrice
	}
	tagged struct {
		Name     string
		Password string `json:"-"`
	}
	shadowed struct {
		Base
		ID int
	}
	Base    struct{ ID, Kind int }
	stamped struct { // its MarshalJSON is that of time.Time
		time.Time
		Note string
	}
	hidden      struct{ *hiddenPart }
	hiddenPart  struct{ A int }
	oneWay      struct{ A int }
	onlyText    int
	byPointer   struct{ a int }
	node        struct{ Next *node }
	Recursive   struct{ *Recursive }
	withAny     struct{ Data any }
	withErr     struct{ Err error }
	withMutex   struct{ Mu sync.Mutex }
	withFunc    struct{ F func() }
	holdsMapped struct{ M map[string]byPointer }
)

func (oneWay) MarshalJSON() ([]byte, error)       { return []byte("1"), nil }
func (onlyText) MarshalText() ([]byte, error)     { return []byte("x"), nil }
func (p *byPointer) MarshalJSON() ([]byte, error) { return json.Marshal(p.a) }
func (p *byPointer) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &p.a) }

func wantLossy[V any](t *testing.T, part string) {
	t.Helper()
	err := autorefresh.CheckJSON[V]() // not New: to compile a cache for each type takes minutes
	for _, want := range []string{part, "Options.Codec", "set a Codec", reflect.TypeFor[V]().String()} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %q", err, want)
		}
	}
}

func TestNewRefusesWhatItCannotShare(t *testing.T) {
	load := func(context.Context, any, any) (any, error) { return 1, nil }
	type o = autorefresh.Options[any, any]
	keyString, store := func(any) string { return "" }, newShared()
	for want, o := range map[string]o{
		"Options.Codec":     {Period: time.Minute, Store: store, KeyString: keyString},
		"Options.KeyString": {Period: time.Minute, Store: store, Codec: anyCodec{}},
		"":                  {Period: time.Minute}, // nothing is shared
		" ":                 {Period: time.Minute, Store: store, Codec: anyCodec{}, KeyString: keyString},
	} {
		c, err := autorefresh.New(load, o)
		if strings.TrimSpace(want) != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("New: %v, want %s named", err, want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, c)
	}
}

type anyCodec struct{}

func (anyCodec) Encode(any) ([]byte, error) { return nil, nil }
func (anyCodec) Decode([]byte) (any, error) { return 1, nil }

// A struct whose fields are not exported was stored as {}: other processes sold teapots for
// nothing, and nothing said so.
func TestValuesThatJSONLosesAreRefused(t *testing.T) {
	wantLossy[secretPrice](t, "field cents of autorefresh_test.secretPrice is not exported")
	wantLossy[*secretPrice](t, "field cents")
	wantLossy[item](t, "field Price of autorefresh_test.item: field cents")
	wantLossy[map[string][]item](t, "field cents")
	wantLossy[tagged](t, `field Password of autorefresh_test.tagged is left out by its tag json:"-"`)
	wantLossy[shadowed](t, `have the same name in JSON, "ID"`)
	wantLossy[stamped](t, "MarshalJSON of autorefresh_test.stamped is that of an embedded field")
	wantLossy[hidden](t, "embeds a pointer to autorefresh_test.hiddenPart")
	wantLossy[oneWay](t, "has MarshalJSON, but not UnmarshalJSON")
	wantLossy[onlyText](t, "has MarshalText, but not UnmarshalText")
	wantLossy[holdsMapped](t, "its receiver is a pointer")
	wantLossy[withAny](t, "interface {} is an interface")
	wantLossy[any](t, "is an interface")
	wantLossy[withErr](t, "error is an interface")
	wantLossy[withMutex](t, "field Mu of autorefresh_test.withMutex: field mu of sync.Mutex")
	wantLossy[withFunc](t, "no form for func()")
	wantLossy[chan int](t, "no form for chan int")
	wantLossy[complex128](t, "no form for complex128")
	wantLossy[map[float64]int](t, "keys of type float64")
	wantLossy[url.URL](t, "field User of url.URL")
}

type (
	inner struct{ A, B int }
	kept  struct {
		inner
		*Base
		Name   string `json:"name,omitempty"`
		At     time.Time
		Big    *big.Int
		Addr   netip.Addr
		Raw    json.RawMessage
		Number json.Number
		List   []inner
		Map    map[int]map[string]*inner
		Blob   []byte
		Sum    [4]byte
		F      float32
		U      uint64 `json:",string"`
		P      **int
		Own    byPointer
		Text   map[netip.Addr]bool
		_      int
	}
)

// optional is a value that may be missing. The methods of a type with parameters are its own, not
// those of an embedded field.
type optional[T any] struct {
	value T
	given bool
}

func (o optional[T]) MarshalJSON() ([]byte, error) { return json.Marshal(o.value) }
func (o *optional[T]) UnmarshalJSON(data []byte) error {
	o.given = true
	return json.Unmarshal(data, &o.value)
}

// Made of themselves without a struct between, these overflowed the stack of New, which ends the
// process.
type (
	tree   []tree
	table  map[string]table
	link   *link
	forest struct{ Trees map[string][]tree }
	// wild is made of itself, and of something that is lost.
	wild []struct {
		More wild
		lost int //nolint:unused // it is lost.
	}
)

func TestTypesThatAreMadeOfThemselves(t *testing.T) {
	for _, err := range []error{
		autorefresh.CheckJSON[tree](), autorefresh.CheckJSON[table](), autorefresh.CheckJSON[link](), autorefresh.CheckJSON[forest](),
		autorefresh.CheckJSON[map[string]*forest](),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	wantLossy[wild](t, "field lost")
}

func TestValuesThatJSONKeepsAreShared(t *testing.T) {
	for _, err := range []error{
		autorefresh.CheckJSON[optional[int]](), autorefresh.CheckJSON[map[string]optional[kept]](),
		autorefresh.CheckJSON[int](), autorefresh.CheckJSON[node](), autorefresh.CheckJSON[Recursive](), autorefresh.CheckJSON[time.Time](),
		autorefresh.CheckJSON[json.RawMessage](), autorefresh.CheckJSON[big.Int](), autorefresh.CheckJSON[struct{}](),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	n := 7
	p := &n
	want := kept{
		inner: inner{1, 2}, Base: &Base{3, 4}, Name: "ü \x00", At: time.Unix(1, 2).UTC(), Big: new(big.Int).Lsh(big.NewInt(1), 100),
		Addr: netip.MustParseAddr("fe80::1%eth0"), Raw: json.RawMessage(`{"a":1}`), Number: "1e400", List: []inner{{5, 6}},
		Map: map[int]map[string]*inner{-1: {"x": {7, 8}, "nil": nil}}, Blob: []byte{0, 0xff}, Sum: [4]byte{1}, F: 0.1, U: math.MaxUint64,
		P: &p, Own: byPointer{9}, Text: map[netip.Addr]bool{netip.IPv4Unspecified(): true},
	}
	data, err := autorefresh.EncodeDefault(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := autorefresh.DecodeDefault[kept](data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("another process loads %+v, %v, want %+v", got, err, want)
	}
	if data, err := autorefresh.EncodeJSON("a \uFFFD and \\ufffd"); err != nil || len(data) == 0 {
		t.Errorf("Encode() = %q, %v of a string that has the replacement character", data, err)
	}
}

// What JSON loses of a value, and not of its type, is not shared, and that is said.
func TestValuesThatCannotBeKeptAreNotShared(t *testing.T) {
	type reading = named
	for want, v := range map[string]reading{"UTF-8": {"caf\xe9", 1}, "NaN": {"x", math.NaN()}, "Inf": {"x", math.Inf(1)}} {
		store, log := newShared(), new(bytes.Buffer)
		c, err := autorefresh.New(func(context.Context, int, reading) (reading, error) { return v, nil }, autorefresh.Options[int, reading]{
			Name: "readings", Period: time.Minute, Store: store, Logger: slog.New(slog.NewTextHandler(log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		for key := range 3 {
			if got, err := c.Load(t.Context(), key); err != nil || got.Name != v.Name {
				t.Errorf("%s: Load() = %v, %v, want it from memory", want, got, err)
			}
		}
		mustClose(t, c)
		if n := c.Stats().StoreUndecodable; n != 3 || len(store.values) != 0 {
			t.Errorf("%s: %d values that could not be encoded, %d in the second level, want 3 and none", want, n, len(store.values))
		}
		if lines := strings.Count(log.String(), "cannot be encoded"); lines != 1 || !strings.Contains(log.String(), want) ||
			!strings.Contains(log.String(), "client=readings") {
			t.Errorf("%s: log %q, want the reason, once", want, log)
		}
	}
}
