package game

import (
	"unicode/utf8"

	"gameserverd/wire"
)

// Limits of cloud saves.
const (
	MaxSaves     = 100      // keys a player
	MaxSaveKey   = 64       // characters of a key
	MaxSaveBytes = 64 << 10 // of a value, as MessagePack
)

// Save is one cloud save of a player. The zero Save stands for one that is not
// there.
type Save struct {
	Value     []byte // one MessagePack value, as it came; never changed in place, so it may be shared
	Version   int64  // counts the writes of this key, from 1
	UpdatedMS int64  // the last write, in UTC milliseconds
}

// CheckSaveKey reports, as invalid_argument, why a save cannot have the key.
func CheckSaveKey(key string) error {
	if !utf8.ValidString(key) {
		return wire.Errorf(wire.InvalidArgument, "key must be valid UTF-8")
	}
	if n := utf8.RuneCountInString(key); n < 1 || n > MaxSaveKey {
		return wire.Errorf(wire.InvalidArgument, "key must have 1 to %d characters, got %d", MaxSaveKey, n)
	}
	return nil
}

// CheckSaveValue reports, as invalid_argument, that a value of so many bytes is
// too long.
func CheckSaveValue(bytes int) error {
	if bytes > MaxSaveBytes {
		return wire.Errorf(wire.InvalidArgument, "value must have at most %d bytes, got %d", MaxSaveBytes, bytes)
	}
	return nil
}

// FindSave returns the save under key, or not_found.
func FindSave(saves map[string]Save, key string) (Save, error) {
	s, ok := saves[key]
	if !ok {
		return Save{}, wire.Errorf(wire.NotFound, "there is no save %q", key)
	}
	return s, nil
}

// PutSave returns what is to be kept under key when value is put at the time
// nowMS. With ifVersion it is aborted unless that is the version there, 0 if
// nothing is; see CheckVersion. One key more than MaxSaves is
// failed_precondition.
func PutSave(saves map[string]Save, key string, value []byte, ifVersion *int64, nowMS int64) (Save, error) {
	old, there := saves[key]
	if err := old.CheckVersion(ifVersion); err != nil {
		return Save{}, err
	}
	if !there && len(saves) >= MaxSaves {
		return Save{}, wire.Errorf(wire.FailedPrecondition, "there are %d saves already, the most that a player can have: delete one first", len(saves))
	}
	return Save{Value: value, Version: old.Version + 1, UpdatedMS: nowMS}, nil
}

// CheckVersion reports, as aborted with data {version}, that s has another
// version than the one wanted; nil wants none.
func (s Save) CheckVersion(want *int64) error {
	switch {
	case want == nil || *want == s.Version:
		return nil
	case *want < 0:
		return wire.Errorf(wire.InvalidArgument, "if_version must be 0 or more, got %d", *want)
	}
	err := wire.Errorf(wire.Aborted, "the save has version %d, not %d", s.Version, *want)
	if s.Version == 0 {
		err = wire.Errorf(wire.Aborted, "the save is not there, so it has no version %d", *want)
	}
	err.Data = map[string]any{"version": s.Version}
	return err
}
