// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization

/// Calls `body` with each element, in a separate thread per element. Returns the results in the order of the
/// elements. If several calls fail, throws the error of the first failed element.
func concurrentMap<Element: Sendable, Value: Sendable>(
  _ elements: [Element], _ body: @escaping @Sendable (Element) throws(RunError) -> Value
) throws(RunError) -> [Value] {
  let results = Results<Value>(elements.count)
  do throws(KernelError) {
    try Thread.concurrentForEach(elements.count, name: "device") { index in
      do throws(RunError) { results.set(index, .success(try body(elements[index]))) } catch {
        results.set(index, .failure(error))
      }
    }
  } catch { throw .kernel(error) }
  return try results.all()
}

/// The results of the threads.
private final class Results<Value: Sendable>: Sendable {
  /// Taken once by each thread, and by the caller after the threads have ended. No lock is taken inside it.
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
