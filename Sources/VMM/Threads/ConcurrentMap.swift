// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization

/// What `body` makes of each element, in their order; of several failures the first one's is thrown.
/// Each has a thread of its own.
func concurrentMap<Element: Sendable, Value: Sendable>(
  _ elements: [Element], _ body: @escaping @Sendable (Element) throws(RunError) -> Value
) throws(RunError) -> [Value] {
  let results = Results<Value>(elements.count)
  do throws(KernelError) {
    try Thread.each(elements.count, name: "device") { index in
      do throws(RunError) { results.set(index, .success(try body(elements[index]))) } catch {
        results.set(index, .failure(error))
      }
    }
  } catch { throw .kernel(error) }
  return try results.all()
}

/// What threads have come to.
private final class Results<Value: Sendable>: Sendable {
  /// Taken by each of the threads once, and when they have ended; nothing is locked inside it.
  private let values: Mutex<[Result<Value, RunError>?]>

  init(_ count: Int) { values = Mutex([Result<Value, RunError>?](repeating: nil, count: count)) }

  func set(_ index: Int, _ value: Result<Value, RunError>) { values.withLock { $0[index] = value } }

  func all() throws(RunError) -> [Value] {
    var all: [Value] = []
    for value in values.withLock({ $0 }) {
      if let value { all.append(try value.get()) }
    }
    return all
  }
}
