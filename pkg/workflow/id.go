package workflow

import (
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/rowbell/rowbell/pkg/change"
)

// AppendExecutionID appends the public id of an execution: the event's id, then the
// version's surrogate, then, for a replay, its run. The same at every decode.
func AppendExecutionID(b []byte, eventID string, versionRef, run int32) []byte {
	b = append(b, eventID...)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(versionRef), 10)
	if run > 0 {
		b = append(b, '-')
		b = strconv.AppendInt(b, int64(run), 10)
	}
	return b
}

// ID is the execution's public id; see AppendExecutionID.
func (x *Execution) ID() string {
	return string(AppendExecutionID(nil, x.Event.ID, x.VersionRef, x.Run))
}

// RunOf is the replay that made the execution with this id; 0: none did.
func RunOf(id string) int32 {
	_, run, _ := strings.Cut(id[min(len(id), EventIDSize+1):], "-")
	n, err := strconv.ParseInt(run, 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// DeliveryID is the public id of a delivery, and the idempotency key of all its
// attempts. The recipient is "" for the action as a whole. There is no full stop but in a
// recipient: what is signed of a webhook is joined by them (Standard Webhooks).
func DeliveryID(executionID string, action int16, recipient string) string {
	id := executionID + "_" + strconv.Itoa(int(action))
	if recipient != "" {
		id += "_" + recipient
	}
	return id
}

// ParseDeliveryID takes the public id of a delivery apart.
func ParseDeliveryID(id string) (executionID string, action int16, recipient string, ok bool) {
	executionID, rest, found := strings.Cut(id, "_")
	number, recipient, _ := strings.Cut(rest, "_")
	n, err := strconv.ParseInt(number, 10, 16)
	if !found || err != nil || len(executionID) <= EventIDSize || executionID[EventIDSize] != '-' {
		return "", 0, "", false
	}
	return executionID, int16(n), recipient, true
}

// EventIDSize is how many characters an event's id has, with which that of its executions
// begin.
const EventIDSize = 26

// StormID is the public id of a storm: the number of the workflow version, and the commit
// LSN of the transaction in which the first match was held.
func StormID(versionRef int32, at change.LSN) string {
	return strconv.Itoa(int(versionRef)) + "-" + at.String()
}

// ParseStormID takes the public id of a storm apart.
func ParseStormID(id string) (versionRef int32, at change.LSN, ok bool) {
	ref, lsn, found := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ref, 10, 32)
	at, lsnErr := change.ParseLSN(lsn)
	if !found || err != nil || lsnErr != nil || n < 1 {
		return 0, 0, false
	}
	return int32(n), at, true
}

// Lane is where deliveries of one tenant to one destination queue: a hash of both.
func Lane(tenantID, destination string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(tenantID)) // never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(destination))
	return int64(h.Sum64())
}
