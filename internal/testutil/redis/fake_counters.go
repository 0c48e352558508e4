package redis

import (
	"math"
	"strconv"
	"time"
)

func (f *FakeServer) incr(s *session, args []string) any { return f.add(s, args[1], 1) }

func (f *FakeServer) incrBy(s *session, args []string) any {
	by, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return errNotInt
	}
	return f.add(s, args[1], by)
}

func (f *FakeServer) add(s *session, key string, by int64) any {
	e, ok, failure := f.text(s, key)
	if failure != nil {
		return failure
	}
	n := int64(0)
	if ok {
		var err error
		if n, err = strconv.ParseInt(e.text, 10, 64); err != nil {
			return errNotInt
		}
	}
	if by > 0 && n > math.MaxInt64-by || by < 0 && n < math.MinInt64-by {
		return ReplyError("ERR increment or decrement would overflow")
	}
	f.store.put(place{s.db, key}, entry{text: strconv.FormatInt(n+by, 10), expires: e.expires})
	return n + by
}

// expire takes seconds, and no options.
func (f *FakeServer) expire(s *session, args []string) any {
	seconds, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return errNotInt
	}
	at := place{s.db, args[1]}
	e, ok := f.store.get(at)
	switch {
	case !ok:
		return int64(0)
	case seconds <= 0:
		f.store.delete(at)
	default:
		e.expires = time.Now().Add(time.Duration(seconds) * time.Second)
		f.store.put(at, e)
	}
	return int64(1)
}
