package flight

import "context"

// Begun is work that waits for an answer.
type Begun interface {
	// Done has one message when Finish can be called.
	Done() <-chan struct{}
	// Leave has that message come soon, if it has not come yet. It may be called at any time.
	Leave()
	// Finish ends the work, with the error of the load, which Work might have returned. If not ok
	// there is more to do, which may take its time: Rest.
	Finish(ctx context.Context) (ok bool, err error)
	// Rest does the remaining work.
	Rest(ctx context.Context) error
}

// lead does the work of a flight that its caller may leave. What can be begun needs no goroutine,
// unless the caller leaves it or it is not all.
func (t *Table[T]) lead(ctx, ctxOfLoad context.Context, f *Flight[T]) (err error) {
	work, seen := t.options.Work, false
	defer func() {
		if !seen {
			err = t.options.Panicked(f.Key, recover())
			f.land(err)
		}
	}()
	if t.options.Begin != nil {
		if b := t.options.Begin(ctxOfLoad, f); b != nil {
			select {
			case <-b.Done():
				ok, err := b.Finish(ctxOfLoad)
				if ok {
					seen = true
					f.land(err)
					return err
				}
				work = func(ctx context.Context, _ *Flight[T]) error { return b.Rest(ctx) }
			case <-t.options.Life.Done():
				work = follow[T](b)
			case <-ctx.Done():
				work = follow[T](b)
			}
		}
	}
	f.Await()
	seen = true
	go t.run(ctxOfLoad, f, work)
	return f.Wait(ctx)
}

// follow waits for the work until the flight has ended, and ends it.
func follow[T any](b Begun) func(context.Context, *Flight[T]) error {
	return func(ctx context.Context, f *Flight[T]) error {
		select {
		case <-b.Done():
		case <-f.Done():
			b.Leave()
			<-b.Done()
		}
		if ok, err := b.Finish(ctx); ok {
			return err
		}
		return b.Rest(ctx)
	}
}
