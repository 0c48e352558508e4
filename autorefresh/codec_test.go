package autorefresh_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
)

func TestBytesAndStringsAreStoredAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := func(store *shared) string {
			e, _ := envelope.Open(store.values["1"].data)
			return string(e.Value)
		}
		store := newShared()
		text := loadTwice(t, store, "<text>")
		if got := stored(store); got != text {
			t.Errorf("a string is stored as %q, want %q", got, text)
		}
		store = newShared()
		data := loadTwice(t, store, []byte{0, 0xff})
		if got := stored(store); got != string(data) {
			t.Errorf("bytes are stored as %q, want %q", got, data)
		}
		store = newShared()
		type record struct{ Name string }
		if got := loadTwice(t, store, record{"Ada"}); got.Name != "Ada" || stored(store) != `{"Name":"Ada"}` {
			t.Errorf("a struct is stored as %q and loaded as %v, want JSON", stored(store), got)
		}
	})
}

// loadTwice loads a value from the source, and by another process from the second level.
func loadTwice[V any](t *testing.T, store autorefresh.Store, v V) (loaded V) {
	t.Helper()
	calls := 0
	for range 2 {
		c, err := autorefresh.New(func(context.Context, int, V) (V, error) {
			calls++
			return v, nil
		}, autorefresh.Options[int, V]{Period: time.Minute, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if loaded, err = c.Load(t.Context(), 1); err != nil {
			t.Error(err)
		}
		mustClose(t, c)
	}
	if calls != 1 {
		t.Errorf("%d calls of the source, want 1", calls)
	}
	return loaded
}
