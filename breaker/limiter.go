package breaker

import "sync"

// Limiter puts a breaker where a library asks before a call and reports after it, in two methods
// without a connection between them: it is the Limiter of go-redis. Each result is taken for that
// of the oldest call under way. It has no useful zero value: NewLimiter makes one. It is safe for
// concurrent use.
type Limiter struct {
	breaker *Breaker

	mu       sync.Mutex
	underWay []Permit // the oldest first; guarded by mu
}

// NewLimiter makes a limiter of a breaker, which others may use as well.
func NewLimiter(b *Breaker) *Limiter { return &Limiter{breaker: b} }

// Allow asks leave for a call. With a nil error the caller makes it and then reports its result;
// else it must not report.
func (l *Limiter) Allow() error {
	p, err := l.breaker.Allow()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay = append(l.underWay, p)
	return nil
}

// ReportResult tells how a call has ended. The error is judged as Permit.Done judges it. A report
// without a call is ignored.
func (l *Limiter) ReportResult(result error) {
	l.mu.Lock()
	if len(l.underWay) == 0 {
		l.mu.Unlock()
		return
	}
	p := l.underWay[0]
	l.underWay = l.underWay[1:]
	l.mu.Unlock()
	p.Done(result)
}
