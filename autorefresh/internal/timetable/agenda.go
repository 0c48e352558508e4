package timetable

import "container/heap"

// agenda has the entries that are too short for the wheel, by when they are due. Entries that are
// not due then any more are skipped, and taken out before only if there is much of it, see note.
type agenda[K comparable, V any] []appointment[K, V]

type appointment[K comparable, V any] struct {
	at int64
	e  *Entry[K, V]
}

func (a appointment[K, V]) isKept() bool { return a.e.place == placeNoted && a.e.due == a.at }

func (a agenda[K, V]) Len() int { return len(a) }

func (a agenda[K, V]) Less(i, j int) bool { return a[i].at < a[j].at }

func (a agenda[K, V]) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

func (a *agenda[K, V]) Push(x any) { *a = append(*a, x.(appointment[K, V])) } //nolint:errcheck,forcetypeassert // by container/heap.

func (a *agenda[K, V]) Pop() any {
	last := len(*a) - 1
	one := (*a)[last]
	(*a)[last] = appointment[K, V]{}
	*a = (*a)[:last]
	return one
}

// keep makes an appointment.
func (a *agenda[K, V]) keep(e *Entry[K, V], at int64) { heap.Push(a, appointment[K, V]{at, e}) }

// next is when the first appointment is, Never if there is none.
func (a agenda[K, V]) next() int64 {
	if len(a) == 0 {
		return Never
	}
	return a[0].at
}

// expire hands out those whose time has come.
func (a *agenda[K, V]) expire(now int64, out func(*Entry[K, V])) {
	for len(*a) > 0 && (*a)[0].at <= now {
		one := (*a)[0]
		heap.Pop(a)
		if one.isKept() {
			out(one.e)
		}
	}
}
