package autorefresh_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
)

// named is the struct that values are: each type that is kept takes seconds to compile.
type named struct {
	Name  string
	Value float64
}

func TestBytesAndStringsAreStoredAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := func(store *shared) string {
			e, _ := envelope.Open(store.values["1"].data)
			return string(e.Value)
		}
		store := newShared()
		text := loadTwice(t, store, "1", "<text>")
		if got := stored(store); got != text {
			t.Errorf("a string is stored as %q, want %q", got, text)
		}
		data, err := autorefresh.DecodeDefault[[]byte]([]byte{0, 0xff})
		if encoded, wrong := autorefresh.EncodeDefault(data); err != nil || wrong != nil || string(data) != "\x00\xff" || string(encoded) != "\x00\xff" {
			t.Errorf("bytes are stored as %q and loaded as %q, %v, %v", encoded, data, wrong, err)
		}
		store = newShared()
		if got := loadTwice(t, store, 1, named{Name: "Ada"}); got.Name != "Ada" || stored(store) != `{"Name":"Ada","Value":0}` {
			t.Errorf("a struct is stored as %q and loaded as %v, want JSON", stored(store), got)
		}
	})
}

// loadTwice loads a value from the source, and by another process from the second level.
func loadTwice[K comparable, V any](t *testing.T, store autorefresh.Store, key K, v V) (loaded V) {
	t.Helper()
	calls := 0
	for range 2 {
		c, err := autorefresh.New(func(context.Context, K, V) (V, error) {
			calls++
			return v, nil
		}, autorefresh.Options[K, V]{Period: time.Minute, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if loaded, err = c.Load(t.Context(), key); err != nil {
			t.Error(err)
		}
		mustClose(t, c)
	}
	if calls != 1 {
		t.Errorf("%d calls of the source, want 1", calls)
	}
	return loaded
}
