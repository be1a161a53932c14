// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Synchronization
import Trace
import VMM

@testable import Sandbox

/// Helpers for tests that load a filter in a separate process.
enum Confinement {
  /// True if the kernel and this container allow a thread to confine itself.
  static let isPossible: Bool = {
    let result = Result()
    // The filter of a pin thread ends with this thread, which ends soon.
    let thread = try? Thread(name: "probe") {
      if (try? ThreadSandbox(.pin, rules: Rule.machine(.type1)).enter()) != nil {
        result.isLoaded.store(true, ordering: .releasing)
      }
    }
    thread?.join()
    return result.isLoaded.load(ordering: .acquiring)
  }()

  private final class Result: Sendable { let isLoaded = Atomic<Bool>(false) }

  /// Loads the filter of a kind of thread. If that fails, the process exits with status 100. SIGALRM ends a
  /// process that does not end by itself. It would not end if a filter killed only the thread.
  static func enter(_ name: String) {
    alarm(20)
    guard let kind = ThreadKind(rawValue: name),
      (try? ThreadSandbox(kind, rules: Rule.machine(.type1)).enter()) != nil
    else { _exit(100) }
  }
}

/// System calls that no kind of thread may make. Their arguments are harmless without a filter.
enum ForbiddenCall: String, CaseIterable {
  case open, execve, socket, unlink, chmod, mount, pipe, kill, dup, chroot, listen, mkdir

  // SAFETY: every string is a literal that lives for the call, and no call keeps a pointer.
  func make() {
    switch self {
    case .open: _ = unsafe Glibc.open("/nonexistent", O_RDONLY)
    case .execve: _ = unsafe Glibc.execve("/nonexistent", [nil], [nil])
    case .socket: _ = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    case .unlink: _ = unsafe Glibc.unlink("/nonexistent")
    case .chmod: _ = unsafe Glibc.chmod("/nonexistent", 0)
    case .mount: _ = unsafe Glibc.mount("none", "/nonexistent", "none", 0, nil)
    case .pipe: _ = unsafe Glibc.pipe(nil as UnsafeMutablePointer<Int32>?)
    case .kill: _ = Glibc.kill(1, 0)
    case .dup: _ = Glibc.dup(-1)
    case .chroot: _ = unsafe Glibc.chroot("/nonexistent")
    case .listen: _ = Glibc.listen(-1, 0)
    case .mkdir: _ = unsafe Glibc.mkdir("/nonexistent/test", 0)
    }
  }
}
