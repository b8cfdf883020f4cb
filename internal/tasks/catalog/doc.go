// Package catalog lists the tasks of all areas, so that whoever runs tasks knows
// them. It is generated but for this comment, and no area imports it.
//
// Its one invariant: each exported function of an area that is a task is in it once.
package catalog
