// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// A child process that runs a function of this program (fork(2)).
public enum ChildProcess {
  /// Creates a child. This process must have one thread.
  ///
  /// The child inherits no descriptor but one end of a connected Unix stream socket, whose calls do not wait. It receives
  /// no signal of the terminal. Memory that this process maps later is not in the child.
  ///
  /// - Parameters:
  ///   - name: The name of the child in /proc/PID/comm, of at most 15 characters.
  ///   - body: The function, with the number of the child's end. The child ends when it returns.
  /// - Returns: The end of this process. The child sees the end of the connection when this process ends.
  public static func start(
    _ name: StaticString, _ body: (_ socket: Int32) -> Void
  ) throws(KernelError) -> OwnedDescriptor {
    let (own, other) = try MessageSocket.makePair()
    let mine = OwnedDescriptor(owning: own)
    let theirs = OwnedDescriptor(owning: other)
    let child = try check(cl_fork(), "fork")
    if child == 0 {
      // SAFETY: a static string ends with a zero byte and lives for ever.
      let begun = unsafe cl_begin_child(theirs.number, name.utf8Start)
      if begun == 0 { body(0) }
      cl_end_child(0)
    }
    return mine
  }
}
