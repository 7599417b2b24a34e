// Package template renders Liquid for people: titles, mails, chat messages, links. Templates
// come from tenants and run in the worker, so they can't read anything but the variables
// and the stored templates that they are given, or take more than a bounded time and space.
//
// # What is allowed
//
// docs/templates.md has it all. Output {{ … }} with filters; the tags if, elsif, else,
// unless, case, when, for, assign, capture, render, comment and raw; whitespace control ({{-
// and -}}); the operators == != <> < > <= >= contains, and, or (from right to left, as in
// Liquid) and parentheses; nil, true, false, blank and empty. Whatever else Liquid has is
// refused by Compile, by name: ranges, break, continue, cycle, tablerow, include, counters.
//
// What isn't there renders as nothing.
//
// # Channels
//
// A template is written in the language of its Channel. Values are escaped for it; what a
// capture holds, and what raw lets through, is of the channel already (type markup). A filter
// makes a text of such a value again, which is escaped: twice is ugly, not at all is a hole.
//
// # Bounds
//
//   - A template is at most MaxSource bytes, nested at most maxDepth deep; with all that it
//     renders at most maxSources bytes, maxPartialDepth deep. What it renders is compiled
//     with it, once for each name.
//   - A loop has at most maxRounds rounds. Loops in loops, and templates in loops, are held
//     by the budget alone: each step that a rendering takes costs, however little it does.
//   - No text that a template makes, nor what a filter reads of a longer value, is longer
//     than MaxText: it is cut there, and ends with an ellipsis. A chain of append or
//     replace, or captures of captures, stops growing at that size.
//   - What the steps do with their values costs by the byte, maxWork in all. A template
//     that needs more fails. A test holds the worst known ones to a fraction of a second.
//   - Arithmetic is on at most maxDigits digits.
//
// # Languages
//
// A Text is one source or its translations, and a stored template has them too; a rendering
// takes the reader's. Names and orders of dates are CLDR's (see calendars), and so are the
// separators and signs of numbers, through golang.org/x/text. Digits are our own: amounts
// stay exact. Nothing reads a clock: a template gives the same for an event at every try.
//
// # Numbers
//
// Numbers have the digits that the row had: 19.90 renders as 19.90. Arithmetic is exact
// and decimal: 19.90 times 2 is 39.80. divided_by of two integers is an integer (as in
// Liquid); any other quotient has at most 16 decimal places. As in SQL, arithmetic on what
// is not there, or is no number, gives nothing; the filter default can name something
// else. (Liquid takes it for 0, and an amount of 0 is worse than none.)
//
// # Why not the library
//
// 2026-11-25: The engine is ours, and github.com/osteele/liquid v1.9.0, which other Go
// programs take, is what tests compare it with. It was tried first; of it only the
// nesting of tags could have been kept:
//
//   - It has no limits, and no place to add them. Finding the tags of 27 kB took 5.8 s
//     (its regular expression starts anew at each unclosed tag), a {% when %} of 30 kB
//     7.1 s, before anything ran; 22 lines of append made 40 MB.
//   - The for and tablerow blocks and single filters can't be unregistered, and unknown
//     filters are found when a template runs, not when it is compiled.
//   - It panics on what people write: slice: 0, -3, a big whole number, uniq after map,
//     contains on a json.Number.
//   - A json.Number is text to it: with a total of 19.90, total > 10 is false and total |
//     times: 2 is 0. As float64 the total would print as 19.9.
package template
