// SPDX-License-Identifier: Apache-2.0

internal import CLinux

/// The variables by which a parent process passes descriptors (sd_listen_fds(3)).
public enum ListenVariables {
  /// A variable with an invalid value.
  public struct Invalid: Error, Equatable {
    /// The name of the variable.
    public let variable: String
    /// The cause.
    public let cause: String
  }

  /// The first number of a descriptor that is passed (SD_LISTEN_FDS_START).
  public static let start: Int32 = 3
  /// The maximum number of descriptors. A VM with the maximum number of devices needs fewer.
  public static let limit: Int32 = 128

  private static let process = "LISTEN_PID"
  private static let count = "LISTEN_FDS"
  private static let names = "LISTEN_FDNAMES"

  /// Removes the variables from the environment.
  ///
  /// - Returns: The names and the numbers of the descriptors. There are none if the variables belong to another process.
  public static func take() throws(Invalid) -> [(name: String, number: Int32)] {
    let values = [process, count, names].map(value)
    // SAFETY: the strings live for the calls. No other thread uses the environment.
    for name in [process, count, names] { _ = unsafe unsetenv(name) }
    return try parse(process: values[0], count: values[1], names: values[2], own: cl_process_id())
  }

  private static func value(_ name: String) -> String? {
    // SAFETY: the string is copied at once. No other thread changes the environment.
    guard let text = unsafe getenv(name) else { return nil }
    return unsafe String(cString: text)
  }

  /// Parses the values of the variables.
  ///
  /// - Parameters:
  ///   - process: The value of LISTEN_PID, or nil.
  ///   - number: The value of LISTEN_FDS, or nil.
  ///   - list: The value of LISTEN_FDNAMES, or nil.
  ///   - own: The ID of this process.
  static func parse(
    process: String?, count number: String?, names list: String?, own: Int32
  ) throws(Invalid) -> [(name: String, number: Int32)] {
    guard let process, Int32(process) == own else { return [] }
    guard let number, let total = Int32(number), (0...limit).contains(total) else {
      throw Invalid(variable: count, cause: "not a number from 0 to \(limit)")
    }
    guard total > 0 else { return [] }
    let all = (list ?? "").split(separator: ":", omittingEmptySubsequences: false)
    guard list != nil, all.count == Int(total) else {
      throw Invalid(variable: names, cause: "\(list == nil ? 0 : all.count) names for \(total) descriptors")
    }
    return all.enumerated().map { (String($1), start + Int32($0)) }
  }

  /// Sets the variables for the program that this process executes.
  ///
  /// - Parameter list: The names of the descriptors from 3 on.
  public static func set(_ list: [String]) throws(KernelError) {
    for (name, value) in [
      (process, "\(cl_process_id())"), (count, "\(list.count)"), (names, list.joined(separator: ":")),
    ] {
      // SAFETY: the strings live for the call, which copies them.
      try check(unsafe cl_set_variable(name, value), "setenv \(name)")
    }
  }
}
