package autorefresh_test

import (
	"testing"
	"time"
)

// An invalidation took the place of the tombstone of a deletion, or of a value that was set: a
// process that had heard of neither kept its old value for another period.
func TestAnInvalidationDoesNotHideADeletion(t *testing.T) {
	for _, what := range []string{"deleted", "set"} {
		inWired(t, options{Period: time.Hour}, func(t *testing.T, w *wired, d *database, a, b *cache) {
			w.cut.Store(true)
			settle(10 * time.Second)
			d.value.Store(7)
			if what == "deleted" {
				a.Delete(1)
				_, _ = a.Load(t.Context(), 1)
			} else if err := a.Set(t.Context(), 1, 7); err != nil {
				t.Fatal(err)
			}
			settle(10 * time.Second)
			for range 2 {
				if err := a.InvalidateAll(t.Context()); err != nil {
					t.Fatal(err)
				}
				settle(time.Second)
			}
			mustBe(t, b, "while it hears nothing", 0)
			w.mend()
			settle(time.Second)
			if v, ok := b.Get(1); ok && v != 7 {
				t.Errorf("%s, then invalidated: Get = %d, of before, a second after it hears again", what, v)
			}
		})
	}
}

// The same, if the second level was down for both.
func TestAnOwedInvalidationDoesNotHideAnOwedDeletion(t *testing.T) {
	inWired(t, options{Period: time.Hour}, func(t *testing.T, w *wired, d *database, a, b *cache) {
		w.setDown(errDown)
		settle(10 * time.Second)
		d.value.Store(7)
		a.Delete(1)
		_, _ = a.Load(t.Context(), 1)
		settle(10 * time.Second)
		_ = a.InvalidateAll(t.Context())
		w.setDown(nil)
		settle(2 * time.Second)
		_, _ = a.Load(t.Context(), 2) // it has to do with the second level
		settle(time.Second)
		if v, ok := b.Get(1); ok && v != 7 {
			t.Errorf("Get = %d, of before", v)
		}
	})
}

// What another process sets soon after an invalidation may be from before it, by its clock, and is
// not taken: it was waited for another value for 2.5 s, in which the old one was read.
func TestWhatIsSetAfterAnInvalidationIsReadAtOnce(t *testing.T) {
	inWired(t, options{Period: time.Hour}, func(t *testing.T, _ *wired, d *database, a, b *cache) {
		if err := b.InvalidateAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		d.value.Store(7)
		calls := d.calls.Load()
		if err := a.Set(t.Context(), 1, 7); err != nil {
			t.Fatal(err)
		}
		settle(20 * time.Millisecond)
		mustBe(t, b, "after the other has set it", 7)
		if n := d.calls.Load() - calls; n > 2 { // once for each of the two notices: it may hear of the value first
			t.Errorf("the source was asked %d times", n)
		}
	})
}

// A deletion that could not be told was dated with the telling: what another process had got
// from the source in between was taken for deleted.
func TestAnOwedDeletionIsToldWithItsDate(t *testing.T) {
	for _, cut := range []bool{false, true} { // it is told, or found
		inWired(t, options{Period: time.Hour}, func(t *testing.T, w *wired, d *database, a, b *cache) {
			w.setDown(errDown)
			settle(10 * time.Second)
			a.Delete(1)
			d.value.Store(7)
			settle(10 * time.Minute)
			if err := b.Refresh(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			w.cut.Store(cut)
			w.setDown(nil)
			_, _ = a.Load(t.Context(), 2) // it has to do with the second level
			settle(2 * time.Second)
			if cut {
				w.mend()
			}
			calls := d.calls.Load()
			settle(2 * time.Second)
			mustBe(t, b, "got ten minutes after the deletion", 7)
			if n := d.calls.Load() - calls; n > 0 {
				t.Errorf("%d calls of the source for what is newer than the deletion", n)
			}
		})
	}
}

// What had been got soon after a change, by clocks that may be apart by a tenth of the period, was
// asked for each time that the bus came back, for as long as the tombstone was there.
func TestABusThatFlapsDoesNotAskTheSourceEachTime(t *testing.T) {
	inWired(t, options{Period: time.Hour}, func(t *testing.T, w *wired, d *database, a, b *cache) {
		if err := a.Set(t.Context(), 1, 0); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		if err := b.Refresh(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		calls := d.calls.Load()
		for range 30 {
			w.mend()
			settle(2 * time.Second)
		}
		if n := d.calls.Load() - calls; n > 2 {
			t.Errorf("%d calls of the source for one item that has not changed, within a minute", n)
		}
	})
}
