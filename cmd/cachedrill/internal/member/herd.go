package member

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Herd is what many callers who asked a member for one key at once have felt.
type Herd struct {
	Answered []time.Duration // how long each caller waited who got the value
	Failed   []time.Duration // the same for those who got an error
	Error    string          // one of these errors, "" if there was none
}

func serveHerd(w http.ResponseWriter, r *http.Request, m cache, timeout time.Duration) {
	callers, err := strconv.Atoi(r.FormValue("n"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	replyJSON(w, callTogether(r.Context(), m, r.FormValue("key"), callers, timeout))
}

// callTogether lets many callers, who have no longer than the timeout, get a key at the same
// moment.
func callTogether(ctx context.Context, m cache, key string, callers int, timeout time.Duration) (h Herd) {
	var mu sync.Mutex
	var running sync.WaitGroup
	start := make(chan struct{})
	for range callers {
		running.Go(func() {
			<-start
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			began := time.Now()
			_, err := m.get(ctx, key)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				h.Failed, h.Error = append(h.Failed, took), err.Error()
				return
			}
			h.Answered = append(h.Answered, took)
		})
	}
	close(start)
	running.Wait()
	return h
}
