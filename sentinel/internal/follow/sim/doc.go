// Package sim plays histories of failovers with the real follow.State. Servers, sentinels, the
// network and the shell that carries out the state's effects are models; time is virtual, and one
// seed decides all. Each history has faults of many kinds, then all is healed, and the client must
// find the primary. What must never happen is looked for after every event.
package sim
