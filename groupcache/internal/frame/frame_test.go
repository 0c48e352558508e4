package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
)

func TestHeadsAreReadAsTheyWereWritten(t *testing.T) {
	want := frame.Head{Length: frame.MaxBody, Kind: frame.Set, Flags: frame.More | frame.Traced, Group: 65535, Stream: 1<<32 - 1}
	b := want.Append(nil)
	if len(b) != frame.HeadSize {
		t.Fatalf("a head of %d bytes", len(b))
	}
	if got, err := frame.ParseHead(b); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func TestHeadsThatAreNone(t *testing.T) {
	long := frame.Head{Length: frame.MaxBody + 1}.Append(nil)
	for what, b := range map[string][]byte{"empty": nil, "cut off": long[:frame.HeadSize-1], "too long a body": long} {
		if _, err := frame.ParseHead(b); !errors.Is(err, frame.ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBodiesAreReadAsTheyWereWritten(t *testing.T) {
	stamp := frame.Stamp{Time: time.Unix(1700000000, 0), N: 7, Floor: 3}
	rest := append(frame.AppendSet(stamp.Append(nil), "key", -5), "value"...)
	body := append(append(frame.AppendTrace(nil, []byte("trace")), "group"...), rest...)
	parts, err := frame.Split(frame.Head{Flags: frame.Traced, Group: 5}, body)
	if err != nil || string(parts.Trace) != "trace" || string(parts.Group) != "group" || !bytes.Equal(parts.Rest, rest) {
		t.Fatalf("%q %q %q, %v", parts.Trace, parts.Group, parts.Rest, err)
	}
	got, set, err := frame.ParseStamp(parts.Rest)
	if err != nil || !got.Time.Equal(stamp.Time) || got.N != 7 || got.Floor != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	key, value, expire, err := frame.ParseSet(set)
	if err != nil || string(key) != "key" || string(value) != "value" || expire != -5 {
		t.Errorf("%q %q %d, %v", key, value, expire, err)
	}
	value, expire, err = frame.ParseValue(append(frame.AppendValue(nil, 9), "v"...))
	if err != nil || string(value) != "v" || expire != 9 {
		t.Errorf("%q %d, %v", value, expire, err)
	}
	none := frame.Absence{Outcome: 2, Status: 503, Message: "no"}
	if got, err := frame.ParseAbsence(none.Append(nil)); err != nil || got != none {
		t.Errorf("%+v, %v", got, err)
	}
	code, message, err := frame.ParseRefusal(frame.AppendRefusal(nil, frame.Busy, "why"))
	if err != nil || code != frame.Busy || string(message) != "why" {
		t.Errorf("%d %q, %v", code, message, err)
	}
}

// joined adds pieces to a stream, the last of which is the last.
func joined(t *testing.T, j *frame.Joiner, stream uint32, pieces ...string) frame.Whole {
	t.Helper()
	for i, p := range pieces {
		h := frame.Head{Length: uint32(len(p)), Kind: frame.Set, Stream: stream}
		if i < len(pieces)-1 {
			h.Flags = frame.More
		}
		w, ok, err := j.Add(h, []byte(p))
		if err != nil || ok != (i == len(pieces)-1) {
			t.Fatalf("piece %d: %v, %v", i, ok, err)
		}
		if ok {
			return w
		}
	}
	return frame.Whole{}
}

func TestPiecesAreJoined(t *testing.T) {
	j := &frame.Joiner{Streams: 2, Limit: func(frame.Head) int64 { return 6 }}
	if w := joined(t, j, 1, "ab", "cd", "ef"); string(w.Body) != "abcdef" || w.TooLarge {
		t.Errorf("%+v", w)
	}
	if w := joined(t, j, 1, "ab", "cd", "efg"); w.Body != nil || !w.TooLarge {
		t.Errorf("a body above the limit: %+v", w)
	}
	if w := joined(t, j, 1, "abcdefg"); !w.TooLarge {
		t.Errorf("a frame above the limit: %+v", w)
	}
}

func TestJoinerRefuses(t *testing.T) {
	more := func(kind frame.Kind, stream uint32) frame.Head {
		return frame.Head{Kind: kind, Flags: frame.More, Stream: stream}
	}
	begin := func() *frame.Joiner {
		j := &frame.Joiner{Streams: 2, Limit: func(frame.Head) int64 { return 100 }}
		for stream := range uint32(2) {
			if _, _, err := j.Add(more(frame.Set, stream), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		return j
	}
	for what, add := range map[string]struct {
		h    frame.Head
		body string
	}{
		"one body more than may be under way": {more(frame.Set, 2), "x"},
		"another kind on a stream":            {more(frame.Multi, 1), "x"},
		"an empty piece":                      {more(frame.Set, 1), ""},
	} {
		if _, _, err := begin().Add(add.h, []byte(add.body)); !errors.Is(err, frame.ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	j := begin()
	j.Drop(0)
	if _, _, err := j.Add(more(frame.Set, 2), []byte("x")); err != nil {
		t.Errorf("in the place of a body that was dropped: %v", err)
	}
}

// One body may be longer than all that are under way at once.
func TestJoinerKeepsSoMuchOfSeveralBodies(t *testing.T) {
	j := &frame.Joiner{Streams: 8, Limit: func(frame.Head) int64 { return 2 * frame.AtOnce }}
	piece := make([]byte, frame.MaxBody)
	add := func(stream uint32) error {
		_, _, err := j.Add(frame.Head{Kind: frame.Value, Flags: frame.More, Stream: stream}, piece)
		return err
	}
	for range frame.AtOnce/frame.MaxBody + 2 {
		if err := add(1); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(2); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("another one beside a very long one: %v", err)
	}
	j.Drop(1)
	j.Drop(2)
	for range frame.AtOnce / frame.MaxBody / 2 {
		if err := errors.Join(add(3), add(4)); err != nil {
			t.Fatalf("after they were dropped: %v", err)
		}
	}
	if err := errors.Join(add(3), add(4)); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("two that are too long together: %v", err)
	}
}

// Whatever arrives, no more is kept than has arrived, and whole bodies were sent so.
func FuzzFrames(f *testing.F) {
	f.Add(append(frame.Head{Length: 3, Kind: frame.Get, Group: 1}.Append(nil), "gk!"...))
	f.Add(append(frame.Head{Length: 1, Kind: frame.Set, Flags: frame.More}.Append(nil), 'x'))
	f.Add(frame.Head{Length: 1 << 31, Kind: frame.Value}.Append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1000
		j := &frame.Joiner{Streams: 3, Limit: func(frame.Head) int64 { return limit }}
		sent := make(map[uint32][]byte)
		for len(in) >= frame.HeadSize {
			h, err := frame.ParseHead(in)
			if err != nil {
				return
			}
			in = in[frame.HeadSize:]
			body := in[:min(len(in), int(h.Length))]
			in = in[len(body):]
			w, ok, err := j.Add(h, body)
			if err != nil {
				return
			}
			sent[h.Stream] = append(sent[h.Stream], body...)
			if !ok {
				continue
			}
			whole := sent[h.Stream]
			delete(sent, h.Stream)
			if w.TooLarge != (len(whole) > limit) || !w.TooLarge && !bytes.Equal(w.Body, whole) {
				t.Fatalf("%d bytes were sent, %d arrived, too large: %v", len(whole), len(w.Body), w.TooLarge)
			}
			parse(t, w)
		}
	})
}

// parse reads a body in all ways that there are. A part of it is read.
func parse(t *testing.T, w frame.Whole) {
	parts, err := frame.Split(w.Head, w.Body)
	if err != nil {
		return
	}
	if n := len(parts.Trace) + len(parts.Group) + len(parts.Rest); n > len(w.Body) {
		t.Fatalf("%d bytes of %d", n, len(w.Body))
	}
	b := parts.Rest
	if s, rest, err := frame.ParseStamp(b); err == nil {
		if s.N+s.Floor < s.N {
			t.Fatalf("%+v", s)
		}
		b = rest
	}
	if key, value, _, err := frame.ParseSet(b); err == nil && len(key)+len(value)+12 != len(b) {
		t.Fatalf("a Set of %d bytes: %d and %d", len(b), len(key), len(value))
	}
	_, _, _ = frame.ParseValue(b)
	_, _ = frame.ParseAbsence(b)
	_, _, _ = frame.ParseRefusal(b)
}

func TestStampsThatOverflowAreNone(t *testing.T) {
	b := frame.Stamp{N: 1}.Append(nil)
	binary.LittleEndian.PutUint64(b[8:], 1<<63)
	if _, _, err := frame.ParseStamp(b); !errors.Is(err, frame.ErrMalformed) {
		t.Error(err)
	}
}
