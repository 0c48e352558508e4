package line_test

import (
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/line"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// A caller writes itself, beside no context. A peer that read nothing, but said something now and
// then, kept him for ever.
func TestAPeerThatReadsNothingKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe() // holds nothing
		l := newLine(t, client)
		var saying sync.WaitGroup
		saying.Go(func() {
			for range 1000 {
				if _, err := server.Write(raw(rawLoading, 0, 1<<14, "")); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			_ = server.Close()
		})
		begun := time.Now()
		_, _, err := l.Get(t.Context(), wire.Question{Group: "g", Key: "k", Silence: 30 * time.Millisecond}, nil, nil)
		if took := time.Since(begun); !errors.Is(err, line.ErrSilent) && !errors.Is(err, wire.ErrSilent) || took > 10*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		if cause := l.Cause(); !errors.Is(cause, line.ErrSilent) {
			t.Errorf("the line has ended with %v", cause)
		}
		_ = server.Close()
		saying.Wait()
	})
}
