// SPDX-License-Identifier: Apache-2.0

/// The fields of a package, as `apt-cache show` and `dpkg-deb --field` print them.
struct AptFields: Equatable {
  private let values: [String: String]

  init(_ text: String) {
    let pairs = text.split(separator: "\n").compactMap { line -> (String, String)? in
      guard !line.hasPrefix(" "), let colon = line.firstIndex(of: ":") else { return nil }
      let value = line[line.index(after: colon)...].drop { $0 == " " }
      return (String(line[..<colon]), String(value))
    }
    // `apt-cache show` prints one paragraph for each version. The first is the newest.
    values = Dictionary(pairs) { first, _ in first }
  }

  subscript(name: String) -> String? { values[name] }

  /// The packages in `Depends` that have no alternative.
  var dependencies: [String] {
    (self["Depends"] ?? "").split(separator: ",").filter { !$0.contains("|") }
      .compactMap { $0.split(separator: " ").first.map(String.init) }
  }

  /// Returns the packages that contain the kernel and the modules of the package `linux-image-VERSION`.
  ///
  /// From Linux 7.2 on, that package is empty. It depends on one package with the kernel, one with the modules
  /// and one with the lists of modules.
  static func packages(ofImage name: String, dependencies: [String]) -> [String] {
    guard let version = name.wholeMatch(of: #/linux-image-(.+)/#)?.1 else { return [name] }
    let parts = ["binary", "modules", "base"].map { "linux-\($0)-\(version)" }
    return dependencies.contains(parts[0]) ? parts : [name]
  }
}
