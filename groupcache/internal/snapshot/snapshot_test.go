package snapshot_test

import (
	"bytes"
	"errors"
	"io"
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
