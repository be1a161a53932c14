// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux

/// The namespaces of a run, with an empty root directory. A pid namespace is not among them: after
/// unshare(CLONE_NEWPID) a process can create no thread.
enum Namespaces {
  /// The directory that the empty file system covers, until it is the root.
  private static let cover = "/proc"
  /// The number of attempts while a joined thread still ends.
  private static let attempts = 200

  /// Moves the calling thread, the only thread of the process, into new namespaces. The user and the group keep
  /// their IDs.
  static func enter() throws(KernelError) {
    let user = cl_user_id()
    let group = cl_group_id()
    try unshare()
    try Sysfs.write("deny", to: "/proc/self/setgroups")
    try Sysfs.write("\(user) \(user) 1", to: "/proc/self/uid_map")
    try Sysfs.write("\(group) \(group) 1", to: "/proc/self/gid_map")
    try check(cl_mount_private(), "mount / MS_PRIVATE")
    // SAFETY: the strings live for the calls.
    try check(unsafe cl_mount_empty(cover), "mount tmpfs")
    try check(unsafe cl_change_directory(cover), "chdir")
    try check(cl_pivot_root(), "pivot_root")
    try check(cl_unmount_old_root(), "umount2 MNT_DETACH")
  }

  /// Creates the namespaces. The kernel refuses a user namespace to a process with several threads (EINVAL).
  /// pthread_join() returns shortly before the kernel has removed the thread.
  private static func unshare() throws(KernelError) {
    for _ in 1..<attempts {
      let result = cl_unshare(Int32(CL_NAMESPACES))
      if result != -KernelError.invalid {
        try check(result, "unshare")
        return
      }
      cl_sleep_microseconds(100)
    }
    try check(cl_unshare(Int32(CL_NAMESPACES)), "unshare")
  }
}
