package level

import (
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tombstone"
)

var errNoEnvelope = errors.New("autorefresh: it is none of ours, or of a version that is not known here")

// Stored is a value of the second level. Its value is nil if there is none.
type Stored[K comparable, V any] struct {
	Key      K
	Value    *V
	LoadedAt int64 // on the cache's clock
	Terminal bool
	End      int64 // when it ends, on the cache's clock; 0 if it does not
	Same     bool  // it is the value that was there before
	Ahead    int64 // by how much it is dated in the future, 0 if it is not: LoadedAt is now instead
}

func (s *Level[K, V]) seal(v Stored[K, V], m tombstone.Moment) ([]byte, error) {
	payload, err := safe.Call("Codec.Encode", func() ([]byte, error) { return s.codec.Encode(*v.Value) })
	if err != nil {
		return nil, err
	}
	e := envelope.Envelope{LoadedAt: time.Unix(0, m.DateOf(v.LoadedAt)), Terminal: v.Terminal, Value: payload}
	if v.End != 0 {
		e.End = time.Unix(0, m.Wall+v.End-m.Now)
	}
	return envelope.Seal(e), nil
}

// errAhead says that a value is dated in the future: nothing is known of its age.
var errAhead = errors.New("autorefresh: it is dated in the future: set the clocks of the machines")

// open reads an envelope, at a moment from before, as to decode values takes a while. A value that
// another clock has dated in the future was got now, if that is not by more than the clocks may
// differ.
func (s *Level[K, V]) open(key K, data []byte, m tombstone.Moment) (Stored[K, V], error) {
	e, ok := envelope.Open(data)
	if !ok {
		return Stored[K, V]{}, errNoEnvelope
	}
	date := e.LoadedAt.UnixNano()
	if date-m.Wall > int64(s.clock.Skew) {
		return Stored[K, V]{}, errAhead
	}
	age := m.Date - date
	v, err := safe.Call("Codec.Decode", func() (V, error) { return s.codec.Decode(e.Value) })
	if err != nil {
		return Stored[K, V]{}, err
	}
	stored := Stored[K, V]{Key: key, Value: &v, LoadedAt: m.Now - max(age, 0), Terminal: e.Terminal, Ahead: max(-age, 0)}
	if !e.End.IsZero() {
		stored.End = s.now() + int64(time.Until(e.End))
	}
	return stored, nil
}
