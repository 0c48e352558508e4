package autorefresh_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// younger is the codec of a version that writes what the one before cannot read.
type younger struct{}

func (younger) Encode(v int) ([]byte, error) { return json.Marshal(struct{ V int }{v}) }

func (younger) Decode(data []byte) (int, error) {
	var v struct{ V int }
	err := json.Unmarshal(data, &v)
	return v.V, err
}

// A value that another process had set, and this one could not read, was waited for: for 2.5 s the
// old one was read, though the process was told at once.
func TestASetValueThatCannotBeReadIsAskedFor(t *testing.T) {
	inWired(t, options{Period: time.Hour}, func(t *testing.T, w *wired, d *database, _, b *cache) {
		next, err := autorefresh.New(d.refresh, options{Period: time.Hour, Store: w, Watch: true, Codec: younger{}})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, next)
		d.value.Store(7)
		calls := d.calls.Load()
		if err := next.Set(t.Context(), 1, 7); err != nil {
			t.Fatal(err)
		}
		settle(20 * time.Millisecond)
		mustBe(t, b, "after the other has set it", 7)
		if n := d.calls.Load() - calls; n > 4 { // once for each notice, and for what the answer tells the others
			t.Errorf("the source was asked %d times", n)
		}
	})
}
