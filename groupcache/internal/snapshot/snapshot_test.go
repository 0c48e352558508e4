package snapshot_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/snapshot"
)

var records = []snapshot.Record{ //nolint:gochecknoglobals // never changes
	{Key: "a", Value: "value of a", Expire: 1 << 60},
	{Key: "", Value: ""},
	{Key: "\xff\n", Value: string(make([]byte, 300)), Expire: -1},
}

func written(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := snapshot.NewWriter(&b, "g", time.Unix(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read returns the records before the error.
func read(b []byte) (got []snapshot.Record, err error) {
	r, err := snapshot.NewReader(bytes.NewReader(b), 300)
	if err != nil {
		return nil, err
	}
	for {
		rec, err := r.Next()
		if err != nil {
			return got, err
		}
		got = append(got, rec)
	}
}

func TestASnapshotIsReadAsItWasWritten(t *testing.T) {
	b := written(t)
	if got, err := read(b); !errors.Is(err, io.EOF) || !slices.Equal(got, records) {
		t.Errorf("%+v, %v", got, err)
	}
	r, err := snapshot.NewReader(bytes.NewReader(b), 300)
	if err != nil || r.Group != "g" || !r.Time.Equal(time.Unix(1, 2)) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDamageIsFound(t *testing.T) {
	b := written(t)
	for i := range b {
		for what, damaged := range map[string][]byte{
			"cut": b[:i], "changed": slices.Concat(b[:i], []byte{b[i] ^ 4}, b[i+1:]), "without a byte": slices.Delete(slices.Clone(b), i, i+1),
		} {
			got, err := read(damaged)
			if !errors.Is(err, snapshot.ErrCorrupt) {
				t.Fatalf("%s at %d: %v", what, i, err)
			}
			if len(got) > len(records) || !slices.Equal(got, records[:len(got)]) {
				t.Fatalf("%s at %d: %+v", what, i, got)
			}
		}
	}
	if _, err := read([]byte("holdfast groupcache snapshot 1\n\x01g\x00\xff\xff\xff\xff\xff")); !errors.Is(err, snapshot.ErrCorrupt) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(written(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := read(b); err == nil || len(got) > len(b) {
			t.Errorf("%d records, %v", len(got), err)
		}
	})
}

// A limit that was lowered since costs the large values, not all behind them.
func TestValuesAboveTheLimitAreLeftOut(t *testing.T) {
	b := written(t)
	for limit, want := range map[int64][]snapshot.Record{299: records[:2], 9: records[1:2], 0: records[1:2]} {
		r, err := snapshot.NewReader(bytes.NewReader(b), limit)
		var got []snapshot.Record
		for err == nil {
			var rec snapshot.Record
			if rec, err = r.Next(); err == nil {
				got = append(got, rec)
			}
		}
		if !errors.Is(err, io.EOF) || !slices.Equal(got, want) {
			t.Errorf("of %d bytes at most: %+v, %v", limit, got, err)
		}
	}
}

// A length that no file can have is damage, also with the right sums.
func TestALengthWithoutValue(t *testing.T) {
	for _, length := range []uint64{1 << 40, math.MaxInt64, math.MaxUint64} {
		b := written(t)
		b = b[:len(b)-6] // without the end
		b = append(b, 1, 1, 'k', 0)
		b = binary.AppendUvarint(b, length)
		if got, err := read(b); !errors.Is(err, snapshot.ErrCorrupt) || len(got) != len(records) {
			t.Errorf("%d: %d records, %v", length, len(got), err)
		}
	}
}

func TestAKeyThatIsTooLong(t *testing.T) {
	var b bytes.Buffer
	w, err := snapshot.NewWriter(&b, "g", time.Unix(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(snapshot.Record{Key: string(make([]byte, 1<<20+1))}); !errors.Is(err, snapshot.ErrKeyTooLong) {
		t.Errorf("%v", err)
	}
	longest := snapshot.Record{Key: string(make([]byte, 1<<20))}
	if err := errors.Join(w.Write(longest), w.Close()); err != nil {
		t.Error(err)
	}
	if got, err := read(b.Bytes()); !errors.Is(err, io.EOF) || len(got) != 1 || got[0] != longest {
		t.Errorf("%d records, %v", len(got), err)
	}
}
